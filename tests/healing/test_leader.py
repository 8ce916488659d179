"""What the leader decides, without processes and without a network: messages in, messages out."""

import signal

import pytest

from lightning_rcnn.healing.layout import Layout
from lightning_rcnn.healing.leader import ATTEMPTS, LAST_WORDS, STARTS, Leader, is_lost
from lightning_rcnn.healing.prepared import FAILED
from lightning_rcnn.stop_signals import EXIT_STATUS, INTERRUPTED

KILLED = -signal.SIGKILL


class Nodes:
    """Some nodes with a leader, and what it has sent to each."""

    def __init__(self, nodes, whole, **options):
        self.sent = []
        self.leader = Leader(
            0,
            whole,
            lambda node, message: self.sent.append((node, message)),
            **{"awaited": nodes, "until": 100, **options},
        )

    def stopped(self, *nodes, step=-1, now=0.0, asked=None):
        for node in nodes:
            self.leader.handle(node, {"kind": "stopped", "step": step, "port": 1000 + node, "asked": asked}, now)

    def rank(self, node, rank, status, now=0.0):
        self.leader.handle(node, {"kind": "rank", "rank": rank, "status": status}, now)

    def asked(self, node):
        self.leader.handle(node, {"kind": "asked", "number": signal.SIGTERM}, 0.0)

    def failed(self, node):
        self.leader.handle(node, {"kind": "failed"}, 0.0)

    def saved(self, node, step):
        self.leader.handle(node, {"kind": "saved", "step": step}, 0.0)

    def take(self):
        """The kinds of messages since the last call, by node."""
        sent = [(node, message) for node, message in self.sent if message["kind"] != "present"]
        taken = [(node, message["kind"]) for node, message in sent]
        self.last = dict(sent)
        self.sent.clear()
        return taken


@pytest.fixture
def three():
    """Three nodes of two ranks that run."""
    nodes = Nodes(3, Layout(3, 2, 4))
    nodes.stopped(0, 1, 2)
    nodes.take()
    return nodes


def test_the_first_start_waits_for_all_nodes():
    nodes = Nodes(2, Layout(2, 1, 2))
    nodes.stopped(1)
    assert nodes.take() == []
    nodes.stopped(0)
    assert nodes.take() == [(0, "start"), (1, "start")]
    assert nodes.last[1] == {
        **{"kind": "start", "order": [0, 1], "ranks": 1, "batch_size": 2},
        **{"master": 0, "port": 1000, "source": 0, "step": -1},
    }


def test_but_not_for_ever(capsys):
    nodes = Nodes(2, Layout(2, 1, 2))
    nodes.stopped(1)
    nodes.leader.tick(101)
    assert nodes.take() == [(1, "start")]
    assert (nodes.last[1]["order"], nodes.last[1]["batch_size"]) == ([1], 4)
    assert "1 of 2 nodes are here; 1 ranks with 4 images each start" in capsys.readouterr().err


def test_a_lost_rank_stops_all_and_they_start_from_the_newest_checkpoint(three, capsys):
    three.rank(1, 3, KILLED)
    assert three.take() == [(0, "stop"), (1, "stop"), (2, "stop")]
    three.rank(1, 2, KILLED)  # what follows from it
    three.stopped(0, step=10)
    three.stopped(2, step=20)
    assert three.take() == []
    three.stopped(1, step=10)
    assert three.take() == [(0, "start"), (1, "start"), (2, "start")]
    assert (three.last[0]["source"], three.last[0]["step"]) == (2, 20)
    expected = "rank 3 was killed by SIGKILL; 3 x 2 ranks with 4 images each start again after step 20"
    assert expected in capsys.readouterr().err


def test_a_lost_node_leaves_fewer_ranks_with_more_images(three, capsys):
    three.leader.leave(0, 0.0)
    assert three.take() == [(1, "stop"), (2, "stop")]
    three.stopped(1, 2, step=10)
    assert three.take() == [(1, "start"), (2, "start")]
    assert (three.last[2]["order"], three.last[2]["master"], three.last[2]["batch_size"]) == ([1, 2], 1, 6)
    assert "node 0 is gone; 2 x 2 ranks with 6 images each start again after step 10" in capsys.readouterr().err


def test_a_node_that_is_lost_while_others_stop_is_not_waited_for(three):
    three.rank(0, 0, FAILED)
    three.stopped(0, 2)
    three.take()
    three.leader.leave(1, 0.0)
    assert three.take() == [(0, "start"), (2, "start")]


def test_a_node_that_comes_back_takes_part_after_the_next_checkpoint(three):
    three.leader.leave(2, 0.0)
    three.stopped(0, 1, step=10)
    three.take()
    three.stopped(2)
    assert three.take() == []
    three.saved(0, 20)
    assert three.take() == [(0, "stop"), (1, "stop")]
    three.stopped(0, 1, step=20)
    assert three.take() == [(0, "start"), (1, "start"), (2, "start")]
    assert (three.last[2]["source"], three.last[2]["step"]) == (0, 20)


def test_a_node_without_use_is_not_waited_for():
    """Of five images a step two ranks cannot have equally many."""
    nodes = Nodes(5, Layout(5, 1, 1))
    nodes.stopped(*range(5))
    nodes.leader.leave(4, 0.0)
    nodes.stopped(*range(4))
    nodes.take()
    nodes.leader.leave(3, 0.0)  # it did not take part
    nodes.saved(0, 10)
    assert nodes.take() == [(1, "copy")]


def test_a_spare_takes_the_place_of_a_lost_node():
    nodes = Nodes(3, Layout(2, 1, 3))
    nodes.stopped(0, 1, 2)
    assert nodes.take() == [(0, "start"), (1, "start")]
    nodes.leader.leave(1, 0.0)
    nodes.stopped(0, step=5)
    assert nodes.take() == [(0, "stop"), (0, "start"), (2, "start")]
    assert (nodes.last[2]["order"], nodes.last[2]["batch_size"]) == ([0, 2], 3)


def test_each_checkpoint_has_a_copy_on_another_node(three):
    three.saved(0, 10)
    assert three.take() == [(1, "copy")]
    assert three.last[1] == {"kind": "copy", "source": 0}


def test_the_copy_of_a_node_without_ranks_is_what_others_resume_from():
    """Such a node is not stopped before the next start, at which it would state its step."""
    nodes = Nodes(3, Layout(1, 1, 2))
    nodes.stopped(0, 1, 2)
    nodes.saved(0, 10)
    assert nodes.take() == [(0, "start"), (1, "copy")]
    nodes.leader.handle(1, {"kind": "copied", "step": 10}, 0.0)
    nodes.leader.leave(0, 0.0)
    assert nodes.take() == [(1, "start")]
    assert (nodes.last[1]["source"], nodes.last[1]["step"]) == (1, 10)


def test_ranks_that_are_lost_again_and_again_are_given_up(three, capsys):
    for _ in range(ATTEMPTS + 1):
        three.rank(0, 0, KILLED)
        three.stopped(0, 1, 2, step=5)
        assert three.leader.status is None
    three.rank(0, 0, KILLED)
    three.stopped(0, 1, 2, step=5)
    assert three.leader.status == 1
    assert three.take()[-3:] == [(0, "end"), (1, "end"), (2, "end")]
    assert "error: rank 0 was killed by SIGKILL, 4 times after step 5: look at it" in capsys.readouterr().err


def fail_to_start(nodes, broken, *others, step=5):
    nodes.failed(broken)
    nodes.stopped(*others, broken, step=step)


def test_a_node_that_fails_to_start_is_left_out_and_the_others_go_on(three, capsys):
    fail_to_start(three, 1, 0, 2)
    assert three.take() == [(0, "stop"), (1, "stop"), (2, "stop"), (0, "start"), (1, "start"), (2, "start")]
    fail_to_start(three, 1, 0, 2)
    assert three.take()[3:] == [(0, "start"), (2, "start")]
    said = capsys.readouterr().err
    assert "node 1 failed to start its ranks 2 times: it is left out until its launcher starts again" in said
    assert "node 1 cannot start its ranks; 2 x 2 ranks with 6 images each start again after step 5" in said
    three.saved(0, 10)
    assert three.take() == [(2, "copy")]  # the node is not taken in
    for _ in range(ATTEMPTS):  # the others have all their attempts
        three.rank(0, 0, KILLED)
        three.stopped(0, 2, step=10)
    assert three.leader.status is None


def test_a_launcher_that_starts_again_has_two_starts_again(three):
    for _ in range(STARTS):
        fail_to_start(three, 1, 0, 2)
    three.take()
    three.leader.leave(1, 0.0)
    three.stopped(1)
    three.saved(0, 10)
    three.stopped(0, 2, step=10)
    assert three.take()[-3:] == [(0, "start"), (1, "start"), (2, "start")]


def test_a_start_that_fails_once_now_and_then_leaves_no_node_out(three):
    for step in range(4):
        fail_to_start(three, 1, 0, 2, step=step)
        three.saved(0, step + 1)
    assert three.leader._able() == [0, 1, 2]


def test_several_nodes_that_fail_to_start_are_left_out_together(three):
    for _ in range(STARTS):
        three.failed(1)
        three.failed(2)
        three.stopped(0, 1, 2, step=5)
    assert three.take()[-1:] == [(0, "start")]
    assert three.last[0]["order"] == [0]


def test_without_a_node_that_starts_its_ranks_the_job_ends(capsys):
    nodes = Nodes(1, Layout(1, 2, 2))
    nodes.stopped(0)
    for _ in range(STARTS):
        assert nodes.leader.status is None
        fail_to_start(nodes, 0)
    assert nodes.leader.status == 1
    expected = "error: node 0 cannot start its ranks, and no other node is left: look at it; --ckpt_path last resumes"
    assert expected in capsys.readouterr().err


def test_a_spare_node_that_is_asked_to_stop_ends_alone(three):
    three.stopped(3, asked=None)
    three.take()
    three.asked(3)
    assert three.take() == [(3, "end")]
    assert three.last[3]["status"] == EXIT_STATUS
    three.stopped(4, asked=signal.SIGTERM)  # while it had no leader
    assert three.take() == [(4, "end")]
    assert three.leader.status is None


def test_a_node_whose_ranks_have_ended_has_all_others_stop(three):
    three.rank(2, 4, 0)
    three.rank(2, 5, 0)
    three.asked(2)
    assert three.take() == [(0, "signal"), (1, "signal"), (2, "signal")]
    assert three.last[0]["number"] == signal.SIGTERM


def test_a_leader_without_ranks_does_not_leave_those_of_others(three):
    for _ in range(STARTS):
        three.failed(0)
        three.stopped(0, 1, 2)
    assert three.take()[-2:] == [(1, "start"), (2, "start")]
    three.asked(0)
    assert three.take() == [(1, "signal"), (2, "signal")]


def test_what_is_asked_between_two_starts_is_done_after_the_second(three):
    three.rank(1, 3, KILLED)
    three.stopped(0, 1, step=4)
    three.asked(1)
    assert [kind for _, kind in three.take()] == ["stop", "stop", "stop"]
    three.stopped(2, step=4)
    assert [kind for _, kind in three.take()] == ["start"] * 3 + ["signal"] * 3


def test_a_node_that_is_asked_before_all_are_there_ends_at_once_and_the_others_wait():
    nodes = Nodes(3, Layout(3, 2, 2))
    nodes.stopped(0, 1)
    nodes.asked(1)
    assert nodes.take() == [(1, "end")]
    assert nodes.last[1]["status"] == EXIT_STATUS
    nodes.asked(0)  # which leads
    assert nodes.take() == [(0, "end")]
    assert nodes.leader.status is None


def test_a_new_leader_that_is_asked_has_the_checkpoint_in_memory_saved_first():
    nodes = Nodes(2, Layout(3, 2, 2), reason="node 0 is gone")
    nodes.stopped(0, step=7)
    nodes.asked(0)
    assert nodes.take() == []
    nodes.stopped(1, step=7)
    assert nodes.take() == [(0, "start"), (1, "start"), (0, "signal"), (1, "signal")]


def test_the_end_of_all_ranks_is_the_end(three):
    for rank in range(5):
        three.rank(rank // 2, rank, 0, now=1000.0 * rank)
        three.leader.tick(1000.0 * rank + 999)  # one uploads
        assert three.leader.status is None
    three.rank(2, 5, EXIT_STATUS)
    assert three.leader.status == EXIT_STATUS
    assert three.take() == [(0, "end"), (1, "end"), (2, "end")]


def test_nothing_is_said_of_nodes_that_leave_at_the_end(capsys):
    nodes = Nodes(2, Layout(1, 1, 2))
    nodes.stopped(0, 1)
    nodes.rank(0, 0, 0)
    assert nodes.take() == [(0, "start"), (0, "end"), (1, "end")]
    nodes.leader.leave(1, 0.0)  # the spare one
    assert capsys.readouterr().err == ""
    assert nodes.sent == []


def test_after_an_error_the_others_have_some_seconds(three):
    three.rank(0, 1, 1, now=10.0)
    three.leader.tick(10.0 + LAST_WORDS - 1)
    assert three.leader.status is None
    three.leader.tick(10.0 + LAST_WORDS + 1)
    assert three.leader.status == 1


def test_all_know_how_many_they_are_so_that_the_next_leader_waits_for_so_many():
    nodes = Nodes(2, Layout(2, 1, 2))
    nodes.stopped(0, 1, 2)  # the last one is spare
    told = [(node, message["nodes"]) for node, message in nodes.sent if message["kind"] == "present"]
    assert told[-3:] == [(0, 3), (1, 3), (2, 3)]
    nodes.sent.clear()
    nodes.leader.leave(1, 0.0)
    told = [(node, message["nodes"]) for node, message in nodes.sent if message["kind"] == "present"]
    assert told == [(0, 2), (2, 2)]


def test_a_new_leader_waits_for_those_that_followed_the_one_before(capsys):
    nodes = Nodes(2, Layout(3, 1, 2), until=3.0, reason="node 0 is gone")
    nodes.stopped(1, step=10)
    assert nodes.take() == []
    nodes.stopped(2, step=15)
    assert nodes.take() == [(1, "start"), (2, "start")]
    assert "node 0 is gone; 2 x 1 ranks with 3 images each start again after step 15" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("status", "lost"),
    [(0, False), (1, False), (2, False), (EXIT_STATUS, False), (INTERRUPTED, False), (FAILED, True), (KILLED, True)],
)
def test_who_counts_as_lost(status, lost):
    assert is_lost(status) == lost
