"""Nodes and devices of a training: if a launcher started it, they come from the launcher."""

import importlib.util
import os
import time
from typing import Any

from lightning_rcnn.cli.composing import compose, take_config_files
from lightning_rcnn.cli.flags import flag_value
from lightning_rcnn.cli.one_voice import HEAD_START
from lightning_rcnn.errors import InputError
from lightning_rcnn.launchers import Launch, rank_of, read_launch
from lightning_rcnn.slurm_step import WAY_OUT


def take_sizes_from_launcher(words: list[str]) -> list[str]:
    """Add the launcher's `trainer.num_nodes` and `trainer.devices` to the words of a training command.

    It reads the environment and the configuration files and imports nothing slow: a job that cannot work ends in its
    first second.

    Raises:
        InputError: the launcher's numbers do not fit together, or the command has others. Ranks other than 0 raise it
            later and without a message: all see the same error, and launchers end all when rank 0 fails.
    """
    try:
        launch = read_launch(os.environ)
        _refuse_others(words, launch)
        _require_what_lightning_needs(launch)
    except InputError:
        if rank_of(os.environ) != 0:
            time.sleep(HEAD_START)
            raise InputError("") from None
        raise
    if launch.nodes is None:
        return words
    if launch.launcher == "srun":
        # Lightning requires it, and SLURM sets it only if that option was used.
        os.environ["SLURM_NTASKS_PER_NODE"] = str(launch.processes)
    return [*words, f"--trainer.num_nodes={launch.nodes}", f"--trainer.devices={launch.processes}"]


def _require_what_lightning_needs(launch: Launch) -> None:
    if launch.launcher == "mpirun" and importlib.util.find_spec("mpi4py") is None:
        raise InputError(
            "mpirun started this process, but the package mpi4py is missing: `pip install mpi4py`, or use torchrun"
        )


def _refuse_others(words: list[str], launch: Launch) -> None:
    """Refuse flags and configuration files with other numbers of nodes and devices than the launcher's."""
    files, flags = take_config_files(words)
    composition = compose(files)
    for key, number in (("num_nodes", launch.nodes), ("devices", launch.processes)):
        dotted = f"trainer.{key}"
        value: Any = flag_value(flags, dotted)
        origin: str | None = f"--{dotted}"
        if value is None:  # else it counts in the place of the files'
            in_files: Any = composition.content.get("trainer")
            value = in_files.get(key) if isinstance(in_files, dict) else None
            origin = composition.origin(("trainer", key))
        if value is None or str(value) in ("auto", "-1", "null", str(number)):
            continue
        if number is not None:
            raise InputError(f"{origin}: {dotted} is {value}, but {_way_out(launch, key, number, value)}")
        if key == "num_nodes" and str(value) != "1" and not {"NODE_RANK", "MASTER_ADDR"} & os.environ.keys():
            raise InputError(
                f"{origin}: {dotted} is {value}, but nothing starts the others: use srun, or torchrun --nnodes on "
                "each node; or set NODE_RANK and MASTER_ADDR there"
            )


def _way_out(launch: Launch, key: str, number: int, value: Any) -> str:
    dotted, option = f"trainer.{key}", launch.node_option if key == "num_nodes" else launch.process_option
    if launch.launcher == "sbatch":
        return (
            f"the script of the SLURM job starts one process: give sbatch {option}={value} and put `srun` before the "
            f"command; {WAY_OUT}"
        )
    if launch.launcher == "srun":
        shell = f"; {WAY_OUT}" if launch.world == 1 else ""
        return f"SLURM starts the job with {option}={number}; leave {dotted} out, it comes from SLURM{shell}"
    return f"{launch.launcher} has {number} for {option}; leave {dotted} out, it comes from {launch.launcher}"
