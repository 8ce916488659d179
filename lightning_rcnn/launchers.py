"""The launcher that started this process, and the processes it started with it.

| launcher | known by | nodes x processes of each |
|---|---|---|
| lightning_rcnn.healing | `TORCHELASTIC_RUN_ID` begins with its name | as torchrun, in a SLURM job of any size |
| torchrun | `TORCHELASTIC_RUN_ID` | `WORLD_SIZE` / `LOCAL_WORLD_SIZE` x `LOCAL_WORLD_SIZE`, also inside a SLURM job |
| mpirun | Open MPI's, MVAPICH's or Hydra's variables | its size / its local size x its local size |
| jsrun | `JSM_NAMESPACE_SIZE` | the same |
| srun | `SLURM_STEP_ID`, and it is no shell | those of the step |
| sbatch | `SLURM_JOB_ID` without a step, and it is no shell | 1 x 1 |
| WORLD_SIZE (by hand, Lightning) | `WORLD_SIZE` | that many in all |
| nobody | | as the trainer says: Lightning starts them |

The first row that matches wins: a launcher runs inside those below it.
"""

from collections.abc import Callable, Mapping
from typing import NamedTuple

from lightning_rcnn import slurm_step
from lightning_rcnn.errors import InputError

HEALING = "lightning_rcnn.healing"
"""Launcher whose ranks start again, in other numbers than those of a SLURM job when a node is lost."""


class Launch(NamedTuple):
    """Processes that were started together.

    Attributes:
        launcher: name in the first column of the table; empty for nobody.
        nodes: number of nodes; None if the launcher does not say.
        processes: number of processes per node; None if the launcher does not say.
        world: number of all processes; None if the launcher does not say.
        rank: rank of this process, 0-based.
        node_option: option of the launcher for the number of nodes.
        process_option: option of the launcher for the number of processes per node.
    """

    launcher: str
    nodes: int | None = None
    processes: int | None = None
    world: int | None = None
    rank: int = 0
    node_option: str = ""
    process_option: str = ""


def read_launch(environment: Mapping[str, str]) -> Launch:
    """Return the launch that this process is part of.

    Raises:
        InputError: launchers contradict each other, or distribute their processes unevenly.
    """
    return next(launch for read in _TABLE if (launch := read(environment)) is not None)


def rank_of(environment: Mapping[str, str]) -> int:
    """Return the rank of this process, even if its launch is invalid."""
    names = ("RANK", "OMPI_COMM_WORLD_RANK", "MV2_COMM_WORLD_RANK", "PMI_RANK", "JSM_NAMESPACE_RANK", "SLURM_PROCID")
    of_launchers = [environment[name] for name in names if name in environment]
    # Lightning's own processes: in a shell of a job they inherit SLURM's rank 0.
    ranks = [*of_launchers, environment.get("LOCAL_RANK", "0"), environment.get("NODE_RANK", "0")]
    return next((int(rank) for rank in ranks if rank.isdecimal() and rank != "0"), 0)


def healing_job(environment: Mapping[str, str]) -> str:
    """Return text that only ranks of the same `lightning_rcnn.healing` command have; empty if it started none."""
    job = environment.get("TORCHELASTIC_RUN_ID", "")
    return job if job.startswith(HEALING) else ""


def waits_for_nobody(environment: Mapping[str, str]) -> bool:
    """Tell whether no process but those that this one starts will train with it, and so might wait for it.

    Ranks of `lightning_rcnn.healing` are forks of such a process, which its launcher ends.

    Raises:
        InputError: see `read_launch`.
    """
    launch = read_launch(environment)
    if launch.launcher == HEALING:
        return False
    return launch.world == 1 or not (launch.launcher or {"LOCAL_RANK", "NODE_RANK", "MASTER_ADDR"} & environment.keys())


def outlives_its_launcher(environment: Mapping[str, str]) -> bool:
    """Tell whether this process would train on if its launcher were killed, as those of torchrun do."""
    return "TORCHELASTIC_RUN_ID" in environment and not healing_job(environment)


def may_fail_alone(environment: Mapping[str, str]) -> bool:
    """Tell whether this process can exit with an error without its launcher killing rank 0 for it.

    torchrun's agent ends the processes of its own node only; the others here end all.
    """
    return "TORCHELASTIC_RUN_ID" in environment and environment.get("GROUP_RANK", "0") != "0"


def _healing(environment: Mapping[str, str]) -> Launch | None:
    if not healing_job(environment):
        return None
    world, local = int(environment["WORLD_SIZE"]), int(environment["LOCAL_WORLD_SIZE"])
    return _even(HEALING, world, local, environment["RANK"], "--nodes", "--ranks")


def _torchrun(environment: Mapping[str, str]) -> Launch | None:
    if "TORCHELASTIC_RUN_ID" not in environment:
        return None
    world, local = int(environment["WORLD_SIZE"]), int(environment["LOCAL_WORLD_SIZE"])
    groups = int(environment.get("GROUP_WORLD_SIZE", 1))
    steps = int(environment.get("SLURM_STEP_NUM_TASKS", 1)) if slurm_step.is_in_step(environment) else 1
    if steps > 1 and groups != steps:
        raise InputError(
            f"srun starts torchrun {steps} times, and each trains alone: give torchrun --nnodes={steps} and a common "
            "--rdzv-endpoint, with one task for each node; or srun alone starts the command, without torchrun"
        )
    nodes = int(environment.get("SLURM_NNODES", 1)) if slurm_step.is_in_job(environment) else 1
    if nodes > 1 and groups == 1:
        raise InputError(
            f"the SLURM job has {nodes} nodes, and torchrun trains on one: replace torchrun by `srun`, or "
            f"start one torchrun --nnodes={nodes} on each node; {slurm_step.WAY_OUT}"
        )
    return _even("torchrun", world, local, environment["RANK"], "--nnodes", "--nproc-per-node")


def _mpirun(environment: Mapping[str, str]) -> Launch | None:
    for world, local, rank in (
        ("OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_LOCAL_SIZE", "OMPI_COMM_WORLD_RANK"),
        ("MV2_COMM_WORLD_SIZE", "MV2_COMM_WORLD_LOCAL_SIZE", "MV2_COMM_WORLD_RANK"),
        ("PMI_SIZE", "MPI_LOCALNRANKS", "PMI_RANK"),
    ):
        if {world, local, rank} <= environment.keys():
            sizes = int(environment[world]), int(environment[local]), environment[rank]
            return _even("mpirun", *sizes, "the number of nodes", "the number of processes of a node")
    return None


def _jsrun(environment: Mapping[str, str]) -> Launch | None:
    if not {"JSM_NAMESPACE_SIZE", "JSM_NAMESPACE_LOCAL_SIZE", "JSM_NAMESPACE_RANK"} <= environment.keys():
        return None
    world, local = int(environment["JSM_NAMESPACE_SIZE"]), int(environment["JSM_NAMESPACE_LOCAL_SIZE"])
    return _even("jsrun", world, local, environment["JSM_NAMESPACE_RANK"], "--nrs", "--tasks_per_rs")


def _srun(environment: Mapping[str, str]) -> Launch | None:
    if not slurm_step.is_in_step(environment):
        return None
    step = slurm_step.read_step(environment)
    slurm_step.check(step)
    rank = int(environment.get("SLURM_PROCID", 0))
    return Launch("srun", step.nodes, step.tasks, step.nodes * step.tasks, rank, "--nodes", "--ntasks-per-node")


def _sbatch(environment: Mapping[str, str]) -> Launch | None:
    if not slurm_step.is_in_job(environment):
        return None
    slurm_step.check(slurm_step.read_script(environment))
    return Launch("sbatch", 1, 1, 1, 0, "--nodes", "--ntasks-per-node")


def _by_hand(environment: Mapping[str, str]) -> Launch | None:
    if not environment.get("WORLD_SIZE", "").isdecimal():
        return None
    return Launch("WORLD_SIZE", world=int(environment["WORLD_SIZE"]), rank=rank_of(environment))


def _nobody(environment: Mapping[str, str]) -> Launch:
    return Launch("", rank=rank_of(environment))


_TABLE: tuple[Callable[[Mapping[str, str]], Launch | None], ...] = (
    _healing,
    _torchrun,
    _mpirun,
    _jsrun,
    _srun,
    _sbatch,
    _by_hand,
    _nobody,
)


def _even(launcher: str, world: int, local: int, rank: str, node_option: str, process_option: str) -> Launch:
    if world % local:
        raise InputError(f"{launcher} starts {world} processes, {local} of them here: each node needs equally many")
    return Launch(launcher, world // local, local, world, int(rank), node_option, process_option)
