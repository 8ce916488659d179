"""The two checkpoints of a run, `checkpoints/last.ckpt` and `checkpoints/best.ckpt`.

Names are fixed, so that one command starts and resumes a run. A file with one of these names is always whole, also
after `kill -9`.
"""

import os
import time
from functools import partial
from math import isnan
from pathlib import Path
from typing import Any, Literal

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint
from lightning.pytorch.trainer.states import TrainerFn
from lightning.pytorch.utilities.rank_zero import rank_zero_warn

from lightning_rcnn.callbacks.checkpoint_io import AtomicCheckpointIO
from lightning_rcnn.callbacks.run_folder import run_folder
from lightning_rcnn.checkpoints.header import position_of
from lightning_rcnn.checkpoints.in_memory import memory_checkpoint
from lightning_rcnn.errors import InputError, PassingError
from lightning_rcnn.launchers import healing_job
from lightning_rcnn.stale_files import read_past_stale
from lightning_rcnn.training_loops import lead_to_validation

FOLDER = "checkpoints"
LAST = "last.ckpt"
BEST = "best.ckpt"
STALE = 20.0
"""Seconds that a rank which sees another checkpoint than rank 0 waits before it asks for another start."""


class NamedCheckpoint(Checkpoint):
    """A checkpoint with a fixed name and the attributes of Lightning's `ModelCheckpoint` that loggers read.

    A logger with `log_model` uploads it in Lightning's own way.

    Attributes:
        saved_step: number of optimizer steps when the file was written.
        saved_epoch: epoch when the file was written.
        saved_path: the file; None before it is written.
    """

    name: str
    saved_step = saved_epoch = 0
    saved_path: Path | None = None
    monitor: str | None = None
    mode: Literal["max", "min"] = "max"
    save_top_k = 1
    last_model_path = best_model_path = ""
    current_score: float | None = None
    best_model_score: float | None = None

    @property
    def best_k_models(self) -> dict[str, float]:
        """Checkpoints beside the two named ones: always empty."""
        return {}

    def path(self, trainer: Trainer) -> Path:
        """Return the path of the file in the run folder."""
        return run_folder(trainer) / FOLDER / self.name

    def write(self, trainer: Trainer) -> None:
        """Write the file and tell the loggers; call this on all ranks."""
        if trainer.fast_dev_run:  # type: ignore[attr-defined]  # a property that Lightning adds later
            return
        self.saved_step, self.saved_epoch = trainer.global_step, trainer.current_epoch
        self.saved_path = self.path(trainer)
        trainer.save_checkpoint(self.saved_path, weights_only=False)
        writer = writer_of(trainer)
        if writer is None:
            self._tell_loggers(trainer)
        else:
            writer.when_written(partial(self._tell_loggers, trainer))

    def _tell_loggers(self, trainer: Trainer) -> None:
        if trainer.is_global_zero:
            for logger in trainer.loggers:
                logger.after_save_checkpoint(self)  # type: ignore[arg-type]


class LastCheckpoint(NamedCheckpoint):
    """Keeps `last.ckpt` up to date: a killed run resumes from it.

    It is also written at the end of each epoch and before each validation; a run that resumes from the latter runs the
    whole validation. It is never written between accumulated batches, whose gradients it does not hold.

    Args:
        every_n_steps: optimizer steps between two writes.
    """

    name = LAST

    def __init__(self, every_n_steps: int = 200) -> None:
        super().__init__()
        if every_n_steps < 1:
            raise InputError(f"last_checkpoint.every_n_steps {every_n_steps}: at least 1")
        self.every_n_steps = every_n_steps
        self._is_before_validation = False

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Prepare what writes checkpoints, and check that all ranks resume from the same one.

        Clients of NFS believe for up to a minute what a folder held. Where ranks start again right after a loss, they
        wait before they ask for another start, of which they have a few.

        Raises:
            PassingError: this rank sees another checkpoint than rank 0, or none.
        """
        if stage != "fit":
            return
        if (writer := writer_of(trainer)) is not None:
            writer.begin()
        first = trainer.strategy.broadcast(_identity(trainer.ckpt_path))
        if first != _identity(trainer.ckpt_path):
            own = _identity(trainer.ckpt_path)
            if healing_job(os.environ):
                time.sleep(STALE)
            raise PassingError(
                f"rank {trainer.global_rank} resumes from {own}, rank 0 from {first}: "
                "the run folder has to be on a file system that all nodes share"
            )

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Count steps from the first step of this process."""
        self.saved_step = trainer.global_step

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Write every `every_n_steps` steps.

        Raises:
            InputError: a checkpoint could not be written in the background.
        """
        if (writer := writer_of(trainer)) is not None:
            writer.check()
        # With accumulated gradients several batches end at one step.
        if trainer.global_step % self.every_n_steps == 0 and trainer.global_step != self.saved_step:
            self.save(trainer)

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write before a validation of a training: the process may be killed during it."""
        if trainer.sanity_checking or trainer.state.fn != TrainerFn.FITTING:
            return
        # Between accumulated batches the gradients so far would be lost.
        if not trainer.fit_loop.epoch_loop._should_accumulate():
            self._is_before_validation = True
            self.save(trainer)
            self._is_before_validation = False

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write at the end of an epoch, after its validation."""
        self.save(trainer)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Wait for the last file.

        Raises:
            InputError: it could not be written.
        """
        if (writer := writer_of(trainer)) is not None:
            writer.wait()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Wait for files that are being written. One that fails is a warning: the error is why the training ends."""
        if (writer := writer_of(trainer)) is not None:
            for failure in writer.failures():
                rank_zero_warn(str(failure))

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Make a run that resumes begin with the validation that is about to start."""
        if self._is_before_validation:
            lead_to_validation(checkpoint)

    def save(self, trainer: Trainer) -> None:
        """Write the file; call this on all ranks."""
        self.saved_step = trainer.global_step
        self.last_model_path = str(self.path(trainer))
        self.write(trainer)


class BestCheckpoint(NamedCheckpoint):
    """Keeps `best.ckpt`: the state with the best validation so far.

    Args:
        monitor: name of a logged metric; by default mask AP if the detector has masks, else box AP.
        mode: "max" if a higher value is better, else "min".

    Attributes:
        monitored: name of the metric, known after the first validation.
    """

    name = BEST

    def __init__(self, monitor: str | None = None, mode: Literal["max", "min"] = "max") -> None:
        super().__init__()
        self.monitor, self.mode = monitor, mode
        self.monitored = monitor or ""
        self.best_score: float | None = None
        self._has_warned = False

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Tell the loggers of a resumed run about the file that an earlier process wrote."""
        path = self.path(trainer)
        if self.best_score is None or self.saved_path is not None or not path.is_file():
            return
        self.saved_path, self.monitored = path, self._monitor_of(pl_module)
        self.saved_epoch, self.saved_step = position_of(path)
        self.best_model_path, self.best_model_score = str(path), self.best_score
        self._tell_loggers(trainer)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write if the validation that just ended is the best.

        Raises:
            InputError: the metric is not logged.
        """
        if trainer.sanity_checking or trainer.state.fn != TrainerFn.FITTING:
            return
        monitor = self._monitor_of(pl_module)
        if monitor not in trainer.callback_metrics:
            logged = ", ".join(sorted(trainer.callback_metrics)) or "nothing"
            raise InputError(f"best_checkpoint.monitor: {monitor!r} is not logged; logged are {logged}")
        self.monitored = monitor
        score = trainer.callback_metrics[monitor].item()
        if isnan(score) and not self._has_warned:
            self._has_warned = True
            rank_zero_warn(f"{monitor} is NaN: this validation does not write {BEST}")
        if self._is_better(score):
            self.best_score = score
            self.best_model_path, self.best_model_score = str(self.path(trainer)), score
            self.write(trainer)

    def _monitor_of(self, detector: LightningModule) -> str:
        return self.monitor or f"val/{detector.main_result_type}/AP"

    def _is_better(self, score: float) -> bool:
        if isnan(score):
            return False
        if self.best_score is None:
            return True
        return score > self.best_score if self.mode == "max" else score < self.best_score

    def state_dict(self) -> dict[str, Any]:
        """Return the best score so far, so that a resumed run does not overwrite a better state."""
        return {"best_score": self.best_score}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the best score."""
        self.best_score = state_dict["best_score"]


def writer_of(trainer: Trainer) -> AtomicCheckpointIO | None:
    """Return what writes the checkpoints of a trainer; None if it is none of ours."""
    writer = trainer.strategy.checkpoint_io
    return writer if isinstance(writer, AtomicCheckpointIO) else None


def _identity(checkpoint: str | Path | None) -> str:
    """Return text that differs between two states of a checkpoint file: path, size and time; in memory, the step.

    Each node has a copy of its own of one in memory.
    """
    if checkpoint is None:
        return "nothing"
    if Path(checkpoint) == memory_checkpoint():
        return f"memory (step {position_of(checkpoint)[1]})"
    try:
        status = read_past_stale(Path(checkpoint).stat, checkpoint)
    except OSError as error:
        return f"{checkpoint} ({error.strerror})"
    return f"{checkpoint} ({status.st_size} bytes, {status.st_mtime_ns // 10**9})"
