"""Trainings on two nodes that lose a rank or a node, and go on within the job."""

import time

import pytest
import torch

from tests.slurm.conftest import BASE, START

pytestmark = [pytest.mark.end_to_end, pytest.mark.slurm, pytest.mark.xdist_group("slurm")]


@pytest.fixture
def heal(cluster):
    """Start a training and wait for a step; the job."""
    if (BASE / "mode").read_text().strip() != "netns":
        pytest.skip("the nodes of this cluster share their processes")

    def start(run, *words):
        job = cluster.submit(*words, run=run, script="healing.sbatch")
        cluster.wait_for_step(job, run, 6)
        return job

    return start


def wait_for_line(cluster, job, line):
    deadline = time.monotonic() + START
    while line not in cluster.logs(job):
        assert time.monotonic() < deadline, cluster.ending(job)
        time.sleep(0.2)


def pause(cluster, job, run):
    """Wait until rank 0 has done another step; the seconds."""
    path = cluster.folder / run / "steps"
    start, before = time.monotonic(), path.stat().st_mtime_ns
    while path.stat().st_mtime_ns == before:
        assert time.monotonic() < start + START, cluster.ending(job)
        time.sleep(0.05)
    return round(time.monotonic() - start, 1)


def test_a_killed_rank_is_replaced_within_the_job(cluster, heal, undisturbed):
    job = heal("rank_heals")
    launcher = cluster.ask("pgrep", "--oldest", "-f", "^python -m lightning_rcnn.healing", node="node2")
    prepared = cluster.ask("pgrep", "--oldest", "-P", launcher, node="node2")
    rank = cluster.ask("pgrep", "--oldest", "-P", prepared, node="node2")
    cluster.ask("kill", "-9", rank, node="node2")
    print("seconds from a killed rank to the next step:", pause(cluster, job, "rank_heals"))
    facts = cluster.wait(job)
    assert (facts["JobState"], facts["Restarts"]) == ("COMPLETED", "0"), cluster.ending(job)
    assert "rank 1 was killed by SIGKILL; 2 x 1 ranks with 2 images each start again after step" in cluster.logs(job)
    for name, tensor in undisturbed.items():
        assert torch.equal(tensor, cluster.weights("rank_heals")[name]), name


def test_a_lost_node_is_done_without_and_comes_back(cluster, heal):
    job = heal("node_heals", "--trainer.max_epochs", "6")
    cluster.ask("pkill", "-9", "-f", "lightning_rcnn.healing", node="node2")
    print("seconds from a lost node to the next step:", pause(cluster, job, "node_heals"))
    wait_for_line(cluster, job, "node 1 is gone; 1 ranks with 4 images each start again after step")
    facts = cluster.wait(job, 2 * START)
    assert (facts["JobState"], facts["Restarts"]) == ("COMPLETED", "0"), cluster.ending(job)
    assert "2 of 2 nodes are here; 2 x 1 ranks with 2 images each start again after step" in cluster.logs(job)


def test_a_preempted_job_is_requeued(cluster, heal):
    job = heal("heals_later", "--trainer.max_epochs", "4")
    cluster.ask("scancel", "--signal=USR1", job)
    facts = cluster.wait(job, 2 * START)
    assert (facts["JobState"], facts["Restarts"]) == ("COMPLETED", "1"), cluster.ending(job)
    assert "SIGUSR1, saved after step" in cluster.logs(job)
