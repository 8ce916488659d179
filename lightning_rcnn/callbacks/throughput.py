"""How fast the training goes, and how much of the time it waits for data."""

from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer

from lightning_rcnn.callbacks.step_clock import StepClock
from lightning_rcnn.structures import NO_IMAGE, Batch


class Throughput(Callback):
    """Logs `throughput/images_per_second` of all ranks together and `throughput/data_wait_share`.

    Both are averages since they were last logged, every `log_every_n_steps` steps. The share is that of the time from
    the end of a step to the arrival of the next batch, in the time from step to step. Where a validation or the writing
    of a checkpoint falls between two steps, the time between them does not count.
    """

    def __init__(self) -> None:
        super().__init__()
        self._clock = StepClock()
        self._last_logged = 0

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """A training that resumes within an epoch waits for its first batch from here: that epoch has no start."""
        self._clock.wait()

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """The first batch of an epoch is waited for from here."""
        self._clock.wait()

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Batch, batch_idx: int) -> None:
        """A batch has arrived."""
        self._clock.start_step()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Batch, batch_idx: int
    ) -> None:
        """A step is done; log if it is time."""
        self._clock.end_step(sum(record.image_id != NO_IMAGE for record in batch.records))
        # With accumulated gradients several batches end at one step.
        step = trainer.global_step
        every = trainer.log_every_n_steps  # type: ignore[attr-defined]  # Lightning adds it later
        if every and step != self._last_logged and step % every == 0:
            figures = {
                # Every rank has its own clock, but all steps end together.
                "throughput/images_per_second": self._clock.images * trainer.world_size / self._clock.seconds,
                "throughput/data_wait_share": self._clock.waiting / self._clock.seconds,
            }
            # `LightningModule.log` would bring the figures to the device, and wait for it.
            for logger in trainer.loggers:
                logger.log_metrics(figures, step=step - 1)  # Lightning counts steps from 0 in logs
            self._last_logged = step
            self._clock.reset()

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Time until the next step does not count."""
        self._clock.interrupt()

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Time until the next step does not count."""
        self._clock.interrupt()
