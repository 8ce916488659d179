"""The processes of a run, among which its data are divided."""

from dataclasses import dataclass

from lightning.pytorch import Trainer
from lightning.pytorch.accelerators import CUDAAccelerator

from lightning_rcnn.data.workers import suggested_workers


@dataclass(frozen=True)
class Processes:
    """The place of this process among those of a run.

    Attributes:
        rank: rank of this process.
        world: number of ranks.
        local: number of ranks on this node.
        has_cuda: whether each has a CUDA device, to which page-locked memory is copied without waiting.
    """

    rank: int = 0
    world: int = 1
    local: int = 1
    has_cuda: bool = False

    def num_workers(self, given: int | None) -> int:
        """Return the number of loader workers of this process; by default from its share of the cores."""
        return suggested_workers(self.local) if given is None else given


def processes_of(trainer: Trainer | None) -> Processes:
    """Return the processes of a trainer; this one alone without a trainer."""
    if trainer is None:
        return Processes()
    has_cuda = isinstance(trainer.accelerator, CUDAAccelerator)
    return Processes(trainer.global_rank, trainer.world_size, trainer.num_devices, has_cuda)
