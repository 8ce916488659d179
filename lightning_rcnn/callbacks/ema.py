"""Exponential moving average (EMA) of the weights, on their device."""

from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import EMAWeightAveraging
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from lightning_rcnn.sharding import DATA_PARALLEL, free_gathered, own_part, shard


class EMA(EMAWeightAveraging):
    """Exponential moving average of the weights; validations use it, and checkpoints keep it.

    Lightning's `EMAWeightAveraging` copies the model before it moves to its GPU, and reads a counter from there: every
    update waits for the GPU twice and copies all weights to the host.

    Args:
        decay: weight of the previous average in an update, from 0 to 1.
        update_every_n_steps: optimizer steps between updates.
        **kwargs: arguments of Lightning's callback.
    """

    def __init__(self, decay: float = 0.999, update_every_n_steps: int = 1, **kwargs: Any) -> None:
        super().__init__(decay=decay, update_every_n_steps=update_every_n_steps, **kwargs)
        self.decay = decay

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Copy the model to the device on which it will train."""
        if stage == "fit":
            device = self._device or trainer.strategy.root_device
            self._average_model = _Average(pl_module, torch.device(device), self._use_buffers, self.decay)
            if pl_module.device_mesh is not None:
                shard(self._average_model.module, pl_module.device_mesh[DATA_PARALLEL])

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Resume the averages in training; in an evaluation, the weights of a checkpoint are the averages already.

        Lightning warns there that its state cannot be restored, which reads as if something were lost.
        """
        if self._average_model is not None:
            super().on_load_checkpoint(trainer, pl_module, checkpoint)

    def _swap_models(self, pl_module: LightningModule) -> None:
        """Swap weights and averages; of weights that are sharded, the shards."""
        free_gathered(pl_module)
        super()._swap_models(pl_module)

    def _copy_average_to_current(self, pl_module: LightningModule) -> None:
        """Give the model the averages."""
        free_gathered(pl_module)
        super()._copy_average_to_current(pl_module)


class _Average(AveragedModel):
    """torch's average without reads from the device: the host knows whether there were updates before."""

    def __init__(self, model: nn.Module, device: torch.device, use_buffers: bool, decay: float) -> None:
        super().__init__(model, device, use_buffers=use_buffers)
        self._decay = decay
        self._has_updates: bool | None = None

    def update_parameters(self, model: nn.Module) -> None:
        """Copy the weights at the first update; later, move the average towards them."""
        if self._has_updates is None:  # first update of this process, which may have resumed
            self._has_updates = bool(self.n_averaged > 0)
        averages, weights = self._tensors(self.module), self._tensors(model)
        if not self._has_updates:
            torch._foreach_copy_(averages, weights)
        else:
            is_real = [average.is_floating_point() for average in averages]
            torch._foreach_lerp_(_where(is_real, averages), _where(is_real, weights), 1 - self._decay)
            is_count = [not real for real in is_real]
            for average, count in zip(_where(is_count, averages), _where(is_count, weights), strict=True):
                average.copy_(average * self._decay + count * (1 - self._decay))  # as torch has it
        self._has_updates = True
        self.n_averaged.add_(1)

    def _tensors(self, module: nn.Module) -> list[Tensor]:
        buffers = module.buffers() if self.use_buffers else ()
        return [own_part(tensor.detach()) for tensor in (*module.parameters(), *buffers)]


def _where(is_wanted: list[bool], tensors: list[Tensor]) -> list[Tensor]:
    return [tensor for tensor, wanted in zip(tensors, is_wanted, strict=True) if wanted]
