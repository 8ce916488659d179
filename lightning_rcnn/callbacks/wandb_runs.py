"""Which W&B run a training logs to: its id and its group."""

import os
import uuid
from collections.abc import Mapping
from pathlib import Path

from lightning_rcnn.files import atomic_write
from lightning_rcnn.stop_signals import SWEEP

RUN_ID = "wandb_run_id"
"""File in the run folder that holds the id of its W&B run."""


def run_id(folder: Path) -> str:
    """Return the W&B id of the run in `folder`: the one that it was given, else `WANDB_RUN_ID` or a new one.

    Under `wandb agent` it is the agent's, as W&B takes no other there.
    """
    known = _given_id(folder)
    if known and agents_run() in ("", known):
        return known
    return os.environ.get("WANDB_RUN_ID") or uuid.uuid4().hex[:12]


def keep_run_id(folder: Path, chosen: str) -> None:
    """Give the run in `folder` an id that all later starts have."""
    if _given_id(folder) != chosen:
        with atomic_write(folder / RUN_ID) as file:
            file.write(f"{chosen}\n".encode())


def _given_id(folder: Path) -> str:
    path = folder / RUN_ID
    return path.read_text().strip() if path.exists() else ""


def agents_run() -> str:
    """Return the id of the run that `wandb agent` has started this process for; empty if none has."""
    return os.environ.get("WANDB_RUN_ID", "") if SWEEP in os.environ else ""


def default_group(environment: Mapping[str, str]) -> str | None:
    """Return the name of the SLURM job array that this process belongs to; W&B itself reads `WANDB_RUN_GROUP`."""
    array = environment.get("SLURM_ARRAY_JOB_ID")
    return f"array-{array}" if array and not environment.get("WANDB_RUN_GROUP") else None
