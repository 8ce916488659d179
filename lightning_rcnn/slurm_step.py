"""The SLURM job step around this process."""

from collections.abc import Mapping
from typing import NamedTuple

from lightning_rcnn.errors import InputError

SHELLS = ("interactive", "bash", "sh", "zsh", "fish", "ksh", "tcsh", "csh", "dash")
"""Names of interactive jobs, whose processes a person starts by hand."""
WAY_OUT = "in a shell of the job, put SLURM_JOB_NAME=interactive before the command"


class Step(NamedTuple):
    """A job step that `srun` started.

    Attributes:
        nodes: number of nodes.
        tasks: number of tasks per node.
        gpus: number of GPUs of the job on this node; None if the job asked for none.
        visible_gpus: number of GPUs that this task may use; None if that is not restricted.
    """

    nodes: int
    tasks: int
    gpus: int | None
    visible_gpus: int | None


def is_in_job(environment: Mapping[str, str]) -> bool:
    """Tell whether this process belongs to a job and was not started by a person in an interactive shell."""
    if "SLURM_JOB_ID" not in environment:
        return False
    if int(environment.get("SLURM_STEP_NUM_TASKS", 1)) > 1:
        return True
    # `srun --pty` sets the port, whichever shell it starts.
    return environment.get("SLURM_JOB_NAME") not in SHELLS and "SLURM_PTY_PORT" not in environment


def is_in_step(environment: Mapping[str, str]) -> bool:
    """Tell whether `srun` started this process, not a person and not a batch script."""
    return is_in_job(environment) and "SLURM_STEP_ID" in environment


def read_step(environment: Mapping[str, str]) -> Step:
    """Return the step that this process is a task of.

    Raises:
        InputError: nodes have different numbers of tasks.
    """
    dealt = environment["SLURM_STEP_TASKS_PER_NODE"]  # "8(x4)" or "8,7"
    if "," in dealt:
        raise InputError(
            f"SLURM distributes the tasks as {dealt} over the nodes, but each needs equally many: "
            "give --ntasks-per-node instead of --ntasks"
        )
    return Step(int(environment["SLURM_STEP_NUM_NODES"]), int(dealt.partition("(")[0]), *_gpus(environment))


def read_script(environment: Mapping[str, str]) -> Step:
    """Return the single process that a batch script starts without `srun`.

    Raises:
        InputError: the job has several tasks or nodes.
    """
    tasks, nodes = environment.get("SLURM_NTASKS", "1"), environment.get("SLURM_NNODES", "1")
    if (tasks, nodes) != ("1", "1"):
        raise InputError(
            f"the SLURM job has {tasks if tasks != '1' else 'several'} tasks on {nodes} nodes, but only one was "
            f"started: put `srun` before the command; {WAY_OUT}"
        )
    return Step(1, 1, *_gpus(environment))


def check(step: Step) -> None:
    """Refuse a step whose tasks and GPUs do not fit together.

    Raises:
        InputError: they do not fit; the message names the option of SLURM to change.
    """
    if not step.gpus:
        return
    if step.gpus != step.tasks:
        raise InputError(
            f"SLURM gives {step.gpus} GPUs and {step.tasks} tasks to a node, but each GPU needs one task: "
            "make --ntasks-per-node and --gpus-per-node equal, and put `srun` before the command"
        )
    if step.visible_gpus is not None and step.visible_gpus < step.tasks:
        raise InputError(
            f"this task sees {step.visible_gpus} of the {step.gpus} GPUs of its node, but all of them are needed: "
            "give --gpus-per-node instead of --gpus-per-task, and no --gpu-bind"
        )


def _gpus(environment: Mapping[str, str]) -> tuple[int | None, int | None]:
    """Return the numbers of GPUs of the job on this node and of those that this task may use."""
    visible, gpus = environment.get("CUDA_VISIBLE_DEVICES"), environment.get("SLURM_GPUS_ON_NODE")
    return (
        None if gpus is None else int(gpus),
        None if visible is None or gpus is None else len([name for name in visible.split(",") if name]),
    )
