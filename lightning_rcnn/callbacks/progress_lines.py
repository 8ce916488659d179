"""Progress of a run as lines of text, for logs and pipes."""

import math
from pathlib import Path
from typing import Any

import rich
import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import ProgressBar
from lightning.pytorch.trainer.states import TrainerFn

from lightning_rcnn.callbacks.step_clock import StepClock
from lightning_rcnn.callbacks.training_progress import LOSS, TrainingProgress
from lightning_rcnn.progress import SECONDS_BETWEEN_LINES, Pace, duration
from lightning_rcnn.structures import NO_IMAGE, Batch


class ProgressLines(ProgressBar):
    """Writes a line after the first and the last batch, and every `seconds` seconds; on rank 0 only.

    Each line of a training reads the loss from the device; nothing else waits for the device.

    Args:
        seconds: seconds between two lines.
    """

    def __init__(self, seconds: float = SECONDS_BETWEEN_LINES) -> None:
        super().__init__()
        self._seconds = seconds
        self._is_enabled = True
        self._training, self._evaluation = StepClock(), StepClock()

    def disable(self) -> None:
        """Stop writing; Lightning calls this on all ranks but the first."""
        self._is_enabled = False

    def enable(self) -> None:
        """Write lines again."""
        self._is_enabled = True

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the clock of the training."""
        self._training, self._pace = StepClock(), Pace(self._seconds)
        self._first_step = _steps(trainer)
        self._training.wait()

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Batch, batch_idx: int) -> None:
        """Note when the batch arrived."""
        self._training.start_step()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Batch, batch_idx: int
    ) -> None:
        """Write a line if one is due."""
        self._training.end_step(_num_images(batch))
        step, total = _steps(trainer), trainer.estimated_stepping_batches
        if not self._is_enabled or not self._pace.is_due(is_last=step == total):
            return
        has_end = math.isfinite(total)
        parts = [
            f"epoch {trainer.current_epoch + 1}"
            + (f" of {trainer.max_epochs}" if (trainer.max_epochs or 0) > 0 else ""),
            f"step {step}" + (f" of {total:.0f}" if has_end else ""),
        ]
        if LOSS in trainer.callback_metrics:
            parts.append(f"loss {trainer.callback_metrics[LOSS].item():.4g}")
        parts += _rates(self._training, trainer)
        if has_end:
            parts.append(f"{duration(self._pace.seconds_left(step - self._first_step, total - self._first_step))} left")
        print(f"training: {', '.join(parts)}", flush=True)

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the clock of the validation and pause that of the training."""
        self._training.interrupt()
        self._begin()

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the clock of the evaluation."""
        self._begin()

    def on_predict_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the clock of the evaluation."""
        self._begin()

    def on_validation_batch_start(self, *arguments: Any) -> None:
        """Note when the batch arrived."""
        self._start_batch(*arguments)

    def on_test_batch_start(self, *arguments: Any) -> None:
        """Note when the batch arrived."""
        self._start_batch(*arguments)

    def on_predict_batch_start(self, *arguments: Any) -> None:
        """Note when the batch arrived."""
        self._start_batch(*arguments)

    def on_validation_batch_end(self, trainer: Trainer, *arguments: Any) -> None:
        """Write a line if one is due."""
        self._end_batch(trainer, "validation", self.total_val_batches_current_dataloader, *arguments)

    def on_test_batch_end(self, trainer: Trainer, *arguments: Any) -> None:
        """Write a line if one is due."""
        self._end_batch(trainer, "test", self.total_test_batches_current_dataloader, *arguments)

    def on_predict_batch_end(self, trainer: Trainer, *arguments: Any) -> None:
        """Write a line if one is due."""
        self._end_batch(trainer, "prediction", self.total_predict_batches_current_dataloader, *arguments)

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Pause the clock until the next step."""
        self._training.interrupt()

    def _begin(self) -> None:
        self._evaluation, self._evaluation_pace = StepClock(), Pace(self._seconds)
        self._evaluation.wait()
        self.reset_dataloader_idx_tracker()

    def _start_batch(
        self, trainer: Trainer, pl_module: LightningModule, batch: Batch, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        self._evaluation.start_step()
        self.has_dataloader_changed(dataloader_idx)  # Lightning's totals belong to the loader recorded here

    def _end_batch(
        self,
        trainer: Trainer,
        what: str,
        total: float,
        pl_module: LightningModule,
        outputs: Any,
        batch: Batch,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        self._evaluation.end_step(_num_images(batch))
        self._evaluation.wait()
        done = batch_idx + 1
        if not self._is_enabled or not self._evaluation_pace.is_due(is_last=done == total):
            return
        parts = [f"batch {done} of {total}", *_rates(self._evaluation, trainer)]
        if done == total and what != "prediction":
            parts.append("now scoring")
        elif math.isfinite(total):
            parts.append(f"{duration(self._evaluation_pace.seconds_left(done, total))} left")
        if trainer.state.fn == TrainerFn.FITTING:
            parts.insert(0, f"epoch {trainer.current_epoch + 1}")
        print(f"{what}: {', '.join(parts)}", flush=True)


def progress_bar(seconds: float = SECONDS_BETWEEN_LINES) -> ProgressBar:
    """Return a progress bar if the output is a terminal, else progress lines."""
    return TrainingProgress() if rich.get_console().is_terminal else ProgressLines(seconds)


def _steps(trainer: Trainer) -> int:
    """Return the number of optimizer steps; of batches in stages of R-CNN without an optimizer."""
    return trainer.global_step if trainer.optimizers else trainer.fit_loop.epoch_loop.total_batch_idx + 1


def _num_images(batch: Batch) -> int:
    return sum(record.image_id != NO_IMAGE for record in batch.records)


def _rates(clock: StepClock, trainer: Trainer) -> list[str]:
    """Return the speed of all ranks and the waiting and memory of this rank, since the last line."""
    seconds = max(clock.seconds, 1e-9)
    parts = [
        f"{clock.images * trainer.world_size / seconds:.1f} images/s",
        f"{clock.waiting / seconds:.0%} waiting for data",
    ]
    clock.reset()
    if (resident := _resident_bytes()) is not None:
        parts.append(f"{resident / 2**30:.1f} GiB memory")
    if trainer.strategy.root_device.type == "cuda":
        parts.append(f"{torch.cuda.memory_reserved(trainer.strategy.root_device) / 2**30:.1f} GiB GPU memory")
    return parts


def _resident_bytes() -> int | None:
    """Return the resident memory of this process in bytes; None outside of Linux."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return None
    return next((1024 * int(line.split()[1]) for line in lines if line.startswith("VmRSS:")), None)
