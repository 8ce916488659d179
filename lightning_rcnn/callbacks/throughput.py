"""Throughput of the training, and its share of waiting for data."""

from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer

from lightning_rcnn.callbacks.step_clock import StepClock
from lightning_rcnn.callbacks.step_parts import StepParts
from lightning_rcnn.structures import NO_IMAGE, Batch


class Throughput(Callback):
    """Logs `throughput/images_per_second` of all ranks together and `throughput/data_wait_share`.

    Both are averages since they were last logged, every `log_every_n_steps` steps. The share is the time from the end
    of a step to the arrival of the next batch, divided by the time from step to step. The time between two steps does
    not count if a validation or the writing of a checkpoint falls into it. On CUDA it also logs
    `throughput/gpu_memory_gb`, the most memory that this process held since then, and with Lightning's simple profiler
    the parts of a step (`StepParts`).
    """

    def __init__(self) -> None:
        super().__init__()
        self._clock = StepClock()
        self._parts = StepParts()
        self._last_logged = 0

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start to wait for the first batch: an epoch that resumes midway has no `on_train_epoch_start`."""
        self._clock.wait()

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start to wait for the first batch of an epoch."""
        self._clock.wait()

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Batch, batch_idx: int) -> None:
        """Note when the batch arrived."""
        self._clock.start_step()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Batch, batch_idx: int
    ) -> None:
        """Count the step; log every `log_every_n_steps` steps."""
        self._clock.end_step(sum(record.image_id != NO_IMAGE for record in batch.records))
        # With accumulated gradients several batches end at one step.
        step = trainer.global_step
        every = trainer.log_every_n_steps  # type: ignore[attr-defined]  # Lightning adds it later
        if every and step != self._last_logged and step % every == 0:
            figures = {
                # Every rank has its own clock, but all steps end together.
                "throughput/images_per_second": self._clock.images * trainer.world_size / self._clock.seconds,
                "throughput/data_wait_share": self._clock.waiting / self._clock.seconds,
                **self._parts.read(trainer.profiler),  # type: ignore[attr-defined]  # Lightning adds it later
            }
            if pl_module.device.type == "cuda":
                figures["throughput/gpu_memory_gb"] = torch.cuda.max_memory_allocated(pl_module.device) / 1e9
                torch.cuda.reset_peak_memory_stats(pl_module.device)
            # `LightningModule.log` would copy the figures to the device and wait for it.
            for logger in trainer.loggers:
                logger.log_metrics(figures, step=step - 1)  # Lightning counts steps from 0 in logs
            self._last_logged = step
            self._clock.reset()

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Leave out the time until the next step."""
        self._clock.interrupt()

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Leave out the time until the next step."""
        self._clock.interrupt()
