"""A training whose loss is no number any more stops, and says where."""

import math
from collections import deque
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor

from lightning_rcnn.errors import InputError
from lightning_rcnn.structures import NO_IMAGE, Batch, ImageRecord


class NonFiniteGuard(Callback):
    """Stops with the step and its samples when the training loss is infinite or no number.

    On the CPU at once. On CUDA the loss is copied while the device goes on, and looked at some steps later, when it
    has arrived; but always, and on all ranks, before a checkpoint is written: none holds what such a loss made of the
    weights.
    """

    def __init__(self) -> None:
        super().__init__()
        self._under_way: deque[_Loss] = deque()

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begin anew."""
        self._under_way.clear()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Batch, batch_idx: int
    ) -> None:
        """Take the loss of this step, and look at those that have arrived.

        Raises:
            InputError: one is not finite.
        """
        self._under_way.append(_Loss(outputs["loss"], trainer.global_step, batch.records))
        while self._under_way and self._under_way[0].has_arrived():
            self._under_way.popleft().check()

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Look at all losses so far, of all ranks: one that is no number spoils the gradients of all.

        Raises:
            InputError: one is not finite.
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
        """Look at all losses of the epoch.

        Raises:
            InputError: one is not finite.
        """
        self._check_all()

    def _check_all(self) -> None:
        while self._under_way:
            loss = self._under_way.popleft()
            loss.wait()
            loss.check()


class _Loss:
    """A loss on its way to the host."""

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
            "look at these, or lower model.optimizer.lr"
        )
