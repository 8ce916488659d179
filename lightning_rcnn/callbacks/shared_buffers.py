"""Synchronize buffers, such as batch-norm statistics, over ranks before evaluations only."""

from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from torch.nn.parallel import DistributedDataParallel

from lightning_rcnn.distributed import overwrite_from_rank_zero


class SharedBuffers(Callback):
    """Gives all ranks the buffers of rank 0 before each evaluation, instead of in each step.

    Training does not read running statistics, and a checkpoint has those of rank 0, so the copy that
    `DistributedDataParallel` makes in each step by default is not needed. Evaluation reads them, and all ranks have to
    evaluate the same network.
    """

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Keep DDP from copying buffers in each step."""
        parallel = trainer.strategy.model
        if isinstance(parallel, DistributedDataParallel):
            # torch before 2.13 has the second name.
            name = "forward_sync_buffers" if hasattr(parallel, "forward_sync_buffers") else "broadcast_buffers"
            setattr(parallel, name, False)

    def on_validation_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        """Copy the buffers at the first batch: by then, EMA has put its averages into the model."""
        if batch_idx == 0 and dataloader_idx == 0 and trainer.world_size > 1:
            overwrite_from_rank_zero(*pl_module.buffers())
