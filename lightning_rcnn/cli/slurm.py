"""Nodes and devices of a job that SLURM started: they are SLURM's, and written nowhere else."""

import os
import time
from collections.abc import Mapping
from typing import NamedTuple

from lightning_rcnn.cli.composing import compose, take_config_files
from lightning_rcnn.cli.known_keys import flag_value
from lightning_rcnn.errors import InputError

_HEAD_START = 3.0  # seconds


class Step(NamedTuple):
    """What `srun` started.

    Attributes:
        nodes: how many.
        tasks: on each of them.
        gpus: of the job on this node; None where the job did not ask for any.
        visible_gpus: those that this task may use, where that is restricted.
    """

    nodes: int
    tasks: int
    gpus: int | None
    visible_gpus: int | None


def take_sizes_from_slurm(words: list[str]) -> list[str]:
    """Complete the words of a training command by `trainer.num_nodes` and `trainer.devices`, if `srun` started it.

    It reads the environment and the configuration files, and imports nothing that takes time: a job that cannot work
    ends in its first second.

    Raises:
        InputError: SLURM's numbers do not fit together, or the command has others. On other tasks than the first one
            a little later: all find the same, and `srun` ends all tasks when the first one fails.
    """
    try:
        step = read_step(os.environ)
        if step is None:
            return words
        check(step)
        _refuse_others(words, step)
    except InputError:
        if os.environ.get("SLURM_PROCID", "0") != "0":
            time.sleep(_HEAD_START)
            raise InputError("") from None
        raise
    # Lightning wants it, and SLURM sets it only where that very option was used.
    os.environ["SLURM_NTASKS_PER_NODE"] = str(step.tasks)
    return [*words, f"--trainer.num_nodes={step.nodes}", f"--trainer.devices={step.tasks}"]


def read_step(environment: Mapping[str, str]) -> Step | None:
    """The step of a SLURM job that this process is a task of; None outside a job, and in an interactive shell of one.

    Raises:
        InputError: the job has several tasks, but `srun` did not start them; or they are dealt unevenly.
    """
    if environment.get("SLURM_JOB_NAME") in ("bash", "interactive") or "SLURM_JOB_ID" not in environment:
        return None
    if "SLURM_STEP_ID" not in environment:
        if int(environment.get("SLURM_NTASKS", 1)) > 1 or int(environment.get("SLURM_NNODES", 1)) > 1:
            raise InputError(
                f"the SLURM job has {environment.get('SLURM_NTASKS', 'several')} tasks on "
                f"{environment.get('SLURM_NNODES', 1)} nodes, but only one was started: put `srun` before the command"
            )
        return None
    dealt = environment["SLURM_STEP_TASKS_PER_NODE"]  # "8(x4)" or "8,7"
    tasks = dealt.partition("(")[0]
    if "," in dealt:
        raise InputError(
            f"SLURM deals the tasks as {dealt} to its nodes, but each needs equally many: "
            "give --ntasks-per-node in the place of --ntasks"
        )
    visible = environment.get("CUDA_VISIBLE_DEVICES")
    gpus = environment.get("SLURM_GPUS_ON_NODE")
    return Step(
        nodes=int(environment["SLURM_STEP_NUM_NODES"]),
        tasks=int(tasks),
        gpus=None if gpus is None else int(gpus),
        visible_gpus=None if visible is None or gpus is None else len([name for name in visible.split(",") if name]),
    )


def check(step: Step) -> None:
    """Refuse a step whose tasks and GPUs do not fit together.

    Raises:
        InputError: saying which option of SLURM to change.
    """
    if not step.gpus:
        return
    if step.gpus != step.tasks:
        raise InputError(
            f"SLURM gives {step.gpus} GPUs and {step.tasks} tasks to a node, but each GPU needs one task: "
            "make --ntasks-per-node and --gpus-per-node the same"
        )
    if step.visible_gpus is not None and step.visible_gpus < step.tasks:
        raise InputError(
            f"this task sees {step.visible_gpus} of the {step.gpus} GPUs of its node, but all of them are needed: "
            "give --gpus-per-node in the place of --gpus-per-task, and no --gpu-bind"
        )


def _refuse_others(words: list[str], step: Step) -> None:
    """Compare with what flags and configuration files have for `trainer.num_nodes` and `trainer.devices`."""
    files, flags = take_config_files(words)
    composition = compose(files)
    for key, number in (("num_nodes", step.nodes), ("devices", step.tasks)):
        dotted = f"trainer.{key}"
        option = {"num_nodes": "--nodes", "devices": "--ntasks-per-node"}[key]
        of_flags, of_files = flag_value(flags, dotted), (composition.content.get("trainer") or {}).get(key)
        for value, place in ((of_flags, f"--{dotted}"), (of_files, composition.origin(("trainer", key)))):
            if _number(value) not in (None, number):
                raise InputError(
                    f"{place}: {dotted} is {value}, but SLURM starts the job with {option}={number}; "
                    f"leave {dotted} out, it comes from SLURM"
                )


def _number(value: object) -> int | None:
    """The number that is given; None for what leaves it open (`auto`, -1) or is checked elsewhere."""
    text = str(value)
    return int(text) if text.isdecimal() else None
