"""Random seed for `--seed_everything true`: drawn once and shared by weights, steps and data."""

import os
import secrets
from pathlib import Path
from typing import Any

import yaml

from lightning_rcnn.cli.run_paths import CONFIG
from lightning_rcnn.errors import InputError

SEED = "seed_everything"
_LARGEST = 2**32 - 1  # largest seed of numpy
_NUMBERS_OF_PROCESSES = ("WORLD_SIZE", "SLURM_NTASKS")


def resolve_seed(given: Any, run_dir: Path, resumes: bool) -> int | None:
    """Return a random seed if `seed_everything` is true, else None.

    A run that resumes keeps the seed in its `config.yaml`. Processes that Lightning starts take that of the first one.

    Args:
        given: value of `seed_everything`.
        run_dir: run folder.
        resumes: whether the run resumes from a checkpoint.

    Raises:
        InputError: a launcher started several processes, each of which would draw its own seed.
    """
    if str(given).lower() != "true":
        return None
    if resumes and (recorded := _recorded(run_dir / CONFIG)) is not None:
        return recorded
    if "PL_GLOBAL_SEED" in os.environ and "LOCAL_RANK" in os.environ:  # set by the process that started this one
        return int(os.environ["PL_GLOBAL_SEED"])
    if any(int(os.environ.get(name, 1)) > 1 for name in _NUMBERS_OF_PROCESSES):
        raise InputError(f"--{SEED} true: each process of the launcher would draw its own seed; give a number")
    return secrets.randbelow(_LARGEST)


def _recorded(config: Path) -> int | None:
    if not config.is_file():
        return None
    seed = (yaml.safe_load(config.read_text()) or {}).get(SEED)
    return seed if isinstance(seed, int) and not isinstance(seed, bool) else None
