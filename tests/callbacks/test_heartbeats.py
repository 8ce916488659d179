"""Heartbeats by a clock that tests set."""

import pytest

from lightning_rcnn.callbacks import heartbeats
from lightning_rcnn.callbacks.heartbeats import Heartbeat, HeartbeatLog


class Clock:
    now = 1000.0

    def monotonic(self):
        return self.now


@pytest.fixture
def watched(monkeypatch):
    """A log of two ranks that looks at each second, unless a jump of the clock is longer."""
    clock = Clock()
    monkeypatch.setattr(heartbeats, "time", clock)
    log = HeartbeatLog(2, longest=2.0)

    def look(after, beats, batches=0):
        clock.now += after
        log.take([Heartbeat(beat, batches, "fit.py:1 (step)", "node1") for beat in beats])
        return log

    return look


def test_a_rank_that_writes_no_more_is_found_after_its_time(watched):
    for second in range(16):
        log = watched(1.0, (second, 0))
        assert log.without_heartbeat_for(14.5) == ([1] if second == 15 else [])


def test_a_job_that_was_suspended_has_lost_no_rank_and_hangs_nowhere(watched):
    """The process of rank 0 wakes up first: the clock has jumped, and the other rank has not written yet."""
    watched(1.0, (1, 1))
    log = watched(3600.0, (2, 1))
    assert log.without_heartbeat_for(3.0) == []
    assert log.seconds_without_batch() == 2.0
    log = watched(1.0, (3, 2), batches=1)
    assert (log.without_heartbeat_for(0.5), log.seconds_without_batch()) == ([], 0.0)


def test_a_rank_that_did_not_wake_up_is_found(watched):
    watched(1.0, (1, 1))
    watched(3600.0, (2, 1))
    for second in range(14):
        log = watched(1.0, (3 + second, 1))
    assert log.without_heartbeat_for(15.0) == [1]
