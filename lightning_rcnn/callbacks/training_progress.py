"""Progress bar of a training."""

import time
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import RichProgressBar

LOSS = "train/loss"
BETWEEN_READINGS = 1.0
"""Seconds between two readings of the loss."""


class TrainingProgress(RichProgressBar):
    """Lightning's bar with the training loss, which it reads from the device once a second.

    Reading makes the host wait for the device and then the device for the host. Lightning reads values logged with
    `prog_bar=True` after every batch.
    """

    def __init__(self) -> None:
        super().__init__()
        self._read_at = -BETWEEN_READINGS
        self._loss: dict[str, float] = {}

    def get_metrics(self, trainer: Trainer, pl_module: LightningModule) -> dict[str, Any]:
        """Return Lightning's metrics and the loss that was read last."""
        if time.monotonic() - self._read_at >= BETWEEN_READINGS and LOSS in trainer.callback_metrics:
            self._loss = {LOSS: trainer.callback_metrics[LOSS].item()}
            self._read_at = time.monotonic()
        return {**super().get_metrics(trainer, pl_module), **self._loss}
