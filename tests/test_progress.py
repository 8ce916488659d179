"""Lines in the place of a bar, with a clock that passes only when told."""

import io
import time

import pytest
from rich.console import Console

from lightning_rcnn import progress


@pytest.fixture
def passes(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])

    def pass_seconds(seconds):
        now[0] += seconds

    return pass_seconds


def test_a_line_with_the_first_and_last_item_and_every_thirty_seconds(passes):
    out = io.StringIO()
    items = progress.track(range(100), "packing x[1]", Console(file=out, width=20))
    for _ in items:
        passes(10)
    lines = out.getvalue().splitlines()
    assert lines[0] == "packing x[1]: 1 of 100, 16:30 left"
    assert lines[1] == "packing x[1]: 4 of 100, 16:00 left"
    assert lines[-1] == "packing x[1]: 100 of 100, 0:00 left"
    assert len(lines) == 34
    assert "\r" not in out.getvalue()


def test_a_crash_leaves_whole_lines(passes):
    out = io.StringIO()

    def work():
        for number in progress.track(range(9), "packing", Console(file=out)):
            passes(31)
            if number == 3:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        work()
    assert out.getvalue().endswith("left\n")
    assert out.getvalue().count("\n") == 3


def test_a_quiet_console_stays_quiet(capsys):
    assert list(progress.track([1, 2], "packing", Console(quiet=True))) == [1, 2]
    assert capsys.readouterr().out == ""


def test_work_without_steps_shows_that_it_lives_and_ends_with_it():
    out = io.StringIO()

    def work():
        with progress.at_work("scoring [x]", Console(file=out), seconds=0.01):
            while out.getvalue().count("\n") < 2:
                time.sleep(0.001)
            raise ValueError("a crash")

    with pytest.raises(ValueError, match="a crash"):
        work()
    written = out.getvalue()
    assert set(written.splitlines()) == {"scoring [x]: 0:00 so far"}
    time.sleep(0.05)
    assert out.getvalue() == written


@pytest.mark.parametrize(("seconds", "text"), [(0, "0:00"), (59.6, "1:00"), (3723, "1:02:03")])
def test_durations(seconds, text):
    assert progress.duration(seconds) == text
