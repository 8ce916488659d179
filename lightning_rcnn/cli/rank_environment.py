"""Lightning's view of the launcher."""

import os
from collections.abc import Callable

from lightning.fabric.plugins.environments import (
    ClusterEnvironment,
    LightningEnvironment,
    LSFEnvironment,
    MPIEnvironment,
    SLURMEnvironment,
    TorchElasticEnvironment,
)

from lightning_rcnn.launchers import read_launch

_ENVIRONMENTS: dict[str, Callable[[], ClusterEnvironment]] = {
    "torchrun": TorchElasticEnvironment,
    "mpirun": MPIEnvironment,
    "jsrun": LSFEnvironment,
    "srun": lambda: SLURMEnvironment(auto_requeue=False),  # Preemption stands for it
}


def environment_of_launcher() -> ClusterEnvironment:
    """What Lightning reads rank and world from: the launcher that is known by the environment.

    Lightning's own choice takes any process of a SLURM job for a task that `srun` started.
    """
    return _ENVIRONMENTS.get(read_launch(os.environ).launcher, LightningEnvironment)()
