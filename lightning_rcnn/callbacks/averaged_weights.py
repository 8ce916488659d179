"""A running average of the weights, on the device of the weights."""

from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import EMAWeightAveraging


class AveragedWeights(EMAWeightAveraging):
    """Exponential moving average of the weights, with which a training is validated and which its checkpoints keep.

    Lightning's own makes its copy before the model moves to its GPU: every update then waits for the GPU and brings all
    weights to the host.

    Args:
        decay: weight of the average so far at each update.
        update_every_n_steps: optimiser steps between updates.
        **kwargs: of Lightning's callback.
    """

    def __init__(self, decay: float = 0.999, update_every_n_steps: int = 1, **kwargs: Any) -> None:
        super().__init__(decay=decay, update_every_n_steps=update_every_n_steps, **kwargs)

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Make the copy where the model is going to be."""
        self._device = self._device or trainer.strategy.root_device
        super().setup(trainer, pl_module, stage)
