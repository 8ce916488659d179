import pytest

from lightning_rcnn.requeue import job_name, requeue

JOB = {"SLURM_JOB_ID": "42", "SLURM_STEP_ID": "0"}


@pytest.fixture
def slurm(tmp_path, monkeypatch):
    """Sets the environment of a job, with a `scontrol` that writes down its words and answers with `answer`."""

    def set_up(environment, answer="exit 0"):
        for name in ("SLURM_JOB_ID", "SLURM_STEP_ID", "SLURM_ARRAY_JOB_ID", "SLURM_ARRAY_TASK_ID"):
            monkeypatch.delenv(name, raising=False)
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        (tmp_path / "scontrol").write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/words\n{answer}\n')
        (tmp_path / "scontrol").chmod(0o755)
        monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
        return lambda: (tmp_path / "words").read_text().splitlines()

    return set_up


def test_a_job_is_requeued(slurm):
    words = slurm(JOB)
    assert requeue() == "job 42 is requeued"
    assert words() == ["requeue 42"]


def test_of_an_array_only_the_own_task_is_requeued(slurm):
    words = slurm(JOB | {"SLURM_ARRAY_JOB_ID": "41", "SLURM_ARRAY_TASK_ID": "7"})
    assert requeue() == "job 41_7 is requeued"
    assert words() == ["requeue 41_7"]


def test_what_slurm_refuses_is_said(slurm):
    slurm(JOB, "echo 'slurm_requeue error: Requested operation is presently disabled for job 42' >&2; exit 1")
    said = requeue()
    assert said.startswith("job 42 is not requeued (slurm_requeue error: Requested operation is presently disabled")
    assert said.endswith("the same command with --ckpt_path last resumes")


def test_slurm_without_its_clients_is_said(slurm, tmp_path, monkeypatch):
    slurm(JOB)
    monkeypatch.setenv("PATH", str(tmp_path / "nowhere"))
    assert "job 42 is not requeued ([Errno 2]" in requeue()


@pytest.mark.parametrize("environment", [{}, {"SLURM_JOB_ID": "42"}], ids=["no job", "a shell in a job"])
def test_without_a_job_of_its_own_nothing_is_requeued(slurm, environment):
    slurm(environment)
    assert job_name() == ""
    assert requeue() == "the same command with --ckpt_path last resumes"
