"""Trainings on two nodes that are preempted, killed, and started again."""

import os
import random
import re
import time

import pytest
import torch

START = float(os.environ.get("SLURM_TEST_PATIENCE", 300))

pytestmark = [pytest.mark.end_to_end, pytest.mark.slurm, pytest.mark.xdist_group("slurm")]
STEPS = 16


def assert_same(weights, expected):
    for name, tensor in expected.items():
        assert torch.equal(tensor, weights[name]), name


def preempt(cluster, run, step):
    """Train, send USR1 to the whole job within a step, and wait for the end of the second start."""
    job = cluster.submit(run=run)
    cluster.wait_for_step(job, run, step)
    time.sleep(0.3 * random.random())
    cluster.ask("scancel", "--signal=USR1", job)
    facts = cluster.wait(job, 2 * START)
    assert (facts["JobState"], facts["Restarts"]) == ("COMPLETED", "1"), cluster.ending(job)
    assert "SIGUSR1, saved after step" in cluster.logs(job)
    return job


def test_a_preempted_job_ends_with_the_weights_of_an_undisturbed_one(cluster, undisturbed):
    job = preempt(cluster, "preempted", random.randint(1, STEPS - 3))
    assert f"job {job} is requeued" in cluster.logs(job)
    assert_same(cluster.weights("preempted"), undisturbed)
    runs = {path.name.rpartition("-")[2] for path in (cluster.folder / "preempted" / "wandb").glob("offline-run-*")}
    assert runs == {(cluster.folder / "preempted" / "wandb_run_id").read_text().strip()}


@pytest.mark.parametrize(("node", "rank"), [("node2", 1), pytest.param("node1", 0, marks=pytest.mark.slow)])
def test_a_killed_rank_ends_the_job_and_the_next_job_resumes(cluster, undisturbed, node, rank):
    run = f"killed{rank}"
    job = cluster.submit(run=run, options=("--no-requeue",))
    cluster.wait_for_step(job, run, 6)
    cluster.ask("kill", "-9", cluster.rank_process(node), node=node)
    start = time.monotonic()
    facts = cluster.wait(job)
    assert time.monotonic() - start < 30
    assert facts["JobState"] in ("FAILED", "CANCELLED")  # SLURM's word for a step that it had to end differs
    assert re.search(rf"lightning-rcnn: error: rank {rank} .*gone|task {rank}: Killed", cluster.logs(job))
    job = cluster.submit(run=run)
    assert cluster.wait(job)["JobState"] == "COMPLETED", cluster.ending(job)
    assert_same(cluster.weights(run), undisturbed)


def test_a_job_that_may_not_be_requeued_saves_and_says_so(cluster):
    job = cluster.submit(run="once", options=("--no-requeue",))
    cluster.wait_for_step(job, "once", 2)
    cluster.ask("scancel", "--signal=USR1", job)
    facts = cluster.wait(job)
    assert (facts["JobState"], facts["ExitCode"]) == ("FAILED", "75:0"), cluster.ending(job)
    line = next(line for line in cluster.logs(job).splitlines() if "lightning-rcnn: stopped" in line)
    assert f"job {job} is not requeued (" in line
    assert "the same command with --ckpt_path last resumes" in line


def test_what_cannot_work_ends_in_the_first_second(cluster):
    job = cluster.submit("--trainer.devices", "3", run="mismatch")
    assert cluster.wait(job)["JobState"] == "FAILED"
    lines = [line for line in cluster.logs(job).splitlines() if line.startswith("lightning-rcnn: error")]
    assert lines == ["lightning-rcnn: error: --trainer.devices: trainer.devices is 3, but SLURM starts the job with "
                     "--ntasks-per-node=1; leave trainer.devices out, it comes from SLURM"]  # fmt: skip


@pytest.mark.slow
def test_a_signal_during_the_imports_is_survived(cluster, undisturbed):
    job = cluster.submit(run="early")
    cluster.wait(job, until={"RUNNING"})
    while f"{job}.0" not in cluster.ask("squeue", "--steps", "--noheader", "--format=%i"):
        assert cluster.facts(job)["JobState"] == "RUNNING", cluster.ending(job)
        time.sleep(0.1)
    time.sleep(random.random())
    cluster.ask("scancel", "--signal=USR1", job)
    facts = cluster.wait(job, 2 * START)
    assert (facts["JobState"], facts["Restarts"]) == ("COMPLETED", "1"), cluster.ending(job)
    assert "before the first step" in cluster.logs(job)
    assert_same(cluster.weights("early"), undisturbed)


@pytest.mark.slow
@pytest.mark.parametrize("number", range(10))
def test_soak(cluster, undisturbed, number):
    preempt(cluster, f"soak{number}", random.randint(1, STEPS - 3))
    assert_same(cluster.weights(f"soak{number}"), undisturbed)
