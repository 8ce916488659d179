"""Stop a training whose loss is infinite or NaN, and name the step."""

import math
from collections import deque
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor

from lightning_rcnn.errors import InputError
from lightning_rcnn.structures import NO_IMAGE, Batch, ImageRecord


class NonFiniteGuard(Callback):
    """Stops the training when its loss is infinite or NaN, and names the step and its samples.

    The CPU checks at once. On CUDA the loss is copied asynchronously and checked some steps later, when it has arrived;
    all ranks check all losses before a checkpoint is written, so no checkpoint holds weights spoiled by such a loss.
    """

    def __init__(self) -> None:
        super().__init__()
        self._under_way: deque[_Loss] = deque()

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Forget the losses of a previous training."""
        self._under_way.clear()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Batch, batch_idx: int
    ) -> None:
        """Start to copy the loss of this step; check the losses that have arrived.

        Raises:
            InputError: a loss is not finite.
        """
        self._under_way.append(_Loss(outputs["loss"], trainer.global_step, batch.records))
        while self._under_way and self._under_way[0].has_arrived():
            self._under_way.popleft().check()

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Check all losses so far, of all ranks: one NaN spoils the gradients of every rank.

        Raises:
            InputError: a loss is not finite.
        """
        problem = ""
        try:
            self._check_all()
        except InputError as error:
            problem = str(error)
        if not trainer.strategy.reduce_boolean_decision(not problem, all=True):
            raise InputError(
                problem or f"the training loss of another rank is not finite at step {trainer.global_step}"
            )

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Check all losses of the epoch.

        Raises:
            InputError: a loss is not finite.
        """
        self._check_all()

    def _check_all(self) -> None:
        while self._under_way:
            loss = self._under_way.popleft()
            loss.wait()
            loss.check()


class _Loss:
    """A loss that is being copied to the host."""

    def __init__(self, loss: Tensor, step: int, records: tuple[ImageRecord, ...]) -> None:
        self.step, self.records = step, records
        self.arrival: torch.cuda.Event | None = None
        self.value = loss.detach()
        if loss.is_cuda:
            self.value = torch.empty_like(self.value, device="cpu", pin_memory=True)
            self.value.copy_(loss.detach(), non_blocking=True)
            self.arrival = torch.cuda.Event()
            self.arrival.record()

    def has_arrived(self) -> bool:
        return self.arrival is None or self.arrival.query()

    def wait(self) -> None:
        if self.arrival is not None:
            self.arrival.synchronize()

    def check(self) -> None:
        value = self.value.item()
        if math.isfinite(value):
            return
        samples = [
            f"{record.file_name} (id {record.image_id})" for record in self.records if record.image_id != NO_IMAGE
        ]
        raise InputError(
            f"the training loss is {value} at step {self.step} with the samples {', '.join(samples)}: "
            "check these samples, or lower model.optimizer.lr"
        )
