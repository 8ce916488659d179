"""Requeue the SLURM job of this process."""

import os
import subprocess

_TIMEOUT = 30.0  # seconds for the controller to answer


def requeue() -> str:
    """Put the SLURM job of this process back into the queue, if it belongs to one.

    Returns:
        A sentence for the user: the outcome, and what to do if the job is not requeued.
    """
    job = job_name()
    by_hand = "the same command with --ckpt_path last resumes"
    if not job:
        return by_hand
    try:
        answer = subprocess.run(["scontrol", "requeue", job], capture_output=True, text=True, timeout=_TIMEOUT)
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"job {job} is not requeued ({error}): {by_hand}"
    if answer.returncode != 0:
        reason = " ".join(answer.stderr.split()) or f"scontrol exits with {answer.returncode}"
        return f"job {job} is not requeued ({reason}): {by_hand}"
    return f"job {job} is requeued"


def job_name() -> str:
    """Return the id of the SLURM job that started this process, with its array task; empty if none did."""
    array, number = os.environ.get("SLURM_ARRAY_JOB_ID"), os.environ.get("SLURM_ARRAY_TASK_ID")
    if "SLURM_STEP_ID" not in os.environ:
        return ""
    return f"{array}_{number}" if array and number else os.environ.get("SLURM_JOB_ID", "")
