"""The progress bar of a training."""

import time
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import RichProgressBar

LOSS = "train/loss"
BETWEEN_READINGS = 1.0
"""Seconds that the loss in the bar may be old."""


class TrainingProgress(RichProgressBar):
    """Lightning's bar, with the loss of the training, which it reads from the device once a second.

    To read it the host waits until the device has done all that was asked of it, and the device then for the host. What
    is logged with `prog_bar=True` is read after every batch, by Lightning itself and whichever bar there is.
    """

    def __init__(self) -> None:
        super().__init__()
        self._read_at = -BETWEEN_READINGS
        self._loss: dict[str, float] = {}

    def get_metrics(self, trainer: Trainer, pl_module: LightningModule) -> dict[str, Any]:
        """What Lightning shows, and the newest loss that was read."""
        if time.monotonic() - self._read_at >= BETWEEN_READINGS and LOSS in trainer.callback_metrics:
            self._loss = {LOSS: trainer.callback_metrics[LOSS].item()}
            self._read_at = time.monotonic()
        return {**super().get_metrics(trainer, pl_module), **self._loss}
