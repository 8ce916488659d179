"""Lightning's cluster environment for each launcher."""

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

from lightning_rcnn.launchers import HEALING, read_launch

_ENVIRONMENTS: dict[str, Callable[[], ClusterEnvironment]] = {
    HEALING: TorchElasticEnvironment,
    "torchrun": TorchElasticEnvironment,
    "mpirun": MPIEnvironment,
    "jsrun": LSFEnvironment,
    "srun": lambda: SLURMEnvironment(auto_requeue=False),  # the callback Preemption requeues
}


def environment_of_launcher() -> ClusterEnvironment:
    """Return the environment from which Lightning reads rank and world size, by the launcher.

    Lightning's own choice treats any process of a SLURM job as a task that `srun` started.
    """
    return _ENVIRONMENTS.get(read_launch(os.environ).launcher, LightningEnvironment)()
