"""The progress bar of a training."""

import time
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import RichProgressBar

BETWEEN_READINGS = 1.0
"""Seconds that figures in the bar may be old."""


class TrainingProgress(RichProgressBar):
    """Lightning's bar, which reads the loss from the device once a second, and not after every batch.

    To read it the host waits until the device has done all that was asked of it. After every batch, a GPU would be idle
    until the host has prepared the next one.
    """

    def __init__(self) -> None:
        super().__init__()
        self._read_at = -BETWEEN_READINGS
        self._figures: dict[str, Any] = {}

    def get_metrics(self, trainer: Trainer, pl_module: LightningModule) -> dict[str, Any]:
        """The newest figures that were read."""
        if time.monotonic() - self._read_at >= BETWEEN_READINGS:
            self._figures = super().get_metrics(trainer, pl_module)
            self._read_at = time.monotonic()
        return self._figures
