"""Buffers, such as the running figures of batch norms: the same on all ranks where it matters, and only there."""

from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from torch.nn.parallel import DistributedDataParallel

from lightning_rcnn.distributed import overwrite_from_rank_zero


class SharedBuffers(Callback):
    """Gives all ranks the buffers of rank 0 before each evaluation, instead of in each step.

    Training does not read running figures, and a checkpoint has those of rank 0; so a step needs no copy of them, as
    `DistributedDataParallel` makes one by default. The evaluation does read them, and its parts have to be of the same
    network.
    """

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Keep DDP from copying."""
        parallel = trainer.strategy.model
        if isinstance(parallel, DistributedDataParallel):
            # The second name is that of torch before 2.13.
            name = "forward_sync_buffers" if hasattr(parallel, "forward_sync_buffers") else "broadcast_buffers"
            setattr(parallel, name, False)

    def on_validation_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        """Copy, at the first batch: by then, averaged weights and buffers are in their place too."""
        if batch_idx == 0 and dataloader_idx == 0 and trainer.world_size > 1:
            overwrite_from_rank_zero(*pl_module.buffers())
