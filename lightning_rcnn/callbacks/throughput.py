"""How fast the training goes, and how much of the time it waits for data."""

from time import perf_counter
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer

from lightning_rcnn.structures import NO_IMAGE, Batch


class Throughput(Callback):
    """Logs `throughput/images_per_second` of all ranks together and `throughput/data_wait_share`.

    Both are averages since they were last logged, every `log_every_n_steps` steps. The share is that of the time from
    the end of a step to the arrival of the next batch, in the time from step to step. Where a validation or the writing
    of a checkpoint falls between two steps, the time between them does not count.

    Clocks are those of the host, which on CUDA runs ahead of the device: it pauses where the device's queue is full, so
    that the rate is right on average, and nothing here makes it wait.
    """

    def __init__(self) -> None:
        super().__init__()
        self._start_anew()
        self._last_step_end = self._step_start = 0.0
        self._was_interrupted = False
        self._last_logged = 0

    def _start_anew(self) -> None:
        self._images, self._waiting, self._working = 0, 0.0, 0.0

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """A training that resumes within an epoch waits for its first batch from here: that epoch has no start."""
        self._last_step_end, self._was_interrupted = perf_counter(), False

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """The first batch of an epoch is waited for from here."""
        self._last_step_end, self._was_interrupted = perf_counter(), False

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Batch, batch_idx: int) -> None:
        """A batch has arrived."""
        self._step_start = perf_counter()
        if not self._was_interrupted:
            self._waiting += self._step_start - self._last_step_end
        self._was_interrupted = False

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Batch, batch_idx: int
    ) -> None:
        """A step is done; log if it is time."""
        self._last_step_end = perf_counter()
        self._working += self._last_step_end - self._step_start
        self._images += sum(record.image_id != NO_IMAGE for record in batch.records)
        # With accumulated gradients several batches end at one step.
        step = trainer.global_step
        every = trainer.log_every_n_steps  # type: ignore[attr-defined]  # Lightning adds it later
        if every and step != self._last_logged and step % every == 0:
            seconds = self._waiting + self._working
            figures = {
                # Every rank has its own clock, but all steps end together.
                "throughput/images_per_second": self._images * trainer.world_size / seconds,
                "throughput/data_wait_share": self._waiting / seconds,
            }
            # `LightningModule.log` would bring the figures to the device, and wait for it.
            for logger in trainer.loggers:
                logger.log_metrics(figures, step=step - 1)  # Lightning counts steps from 0 in logs
            self._last_logged = step
            self._start_anew()

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Time until the next step does not count."""
        self._was_interrupted = True

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Time until the next step does not count."""
        self._was_interrupted = True
