"""Stop a training on a signal: save at the end of a batch, requeue the SLURM job, and exit."""

import os
from threading import Thread
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint
from lightning.pytorch.loggers import WandbLogger

from lightning_rcnn.callbacks.checkpoints import LastCheckpoint, writer_of
from lightning_rcnn.callbacks.wandb_alerts import alert
from lightning_rcnn.distributed import AsyncFlag
from lightning_rcnn.errors import InputError
from lightning_rcnn.launchers import may_fail_alone
from lightning_rcnn.requeue import job_name, requeue
from lightning_rcnn.stop_signals import EXIT_STATUS, Preempted, listen, received, stopped_for_good

UPLOAD_TIMEOUT = 60.0
"""Seconds that W&B may take at the end; `slurm/train.sbatch` has SLURM send the signal three minutes before the end."""


class Preemption(Checkpoint):  # Lightning calls these last, so the checkpoint has what other callbacks did
    """Stops on USR1 and TERM without losing a batch, and puts a SLURM job back into the queue.

    The signal may reach one rank or all, at any moment: `stop_signals` records it, and at the end of a batch the ranks
    agree whether one of them got it. Then `last.ckpt` is written, and the same command with `--ckpt_path last` resumes
    with the next batch. A signal during a validation ends the validation; the checkpoint that `LastCheckpoint` wrote
    before it leads to the same validation. If W&B asks for the stop, from its page or by a sweep's early termination,
    the training stops in the same way, but nothing is requeued.

    Raises:
        Preempted: the training has stopped.
        InputError: `LastCheckpoint` is not among the callbacks (raised on setup).
    """

    def __init__(self) -> None:
        super().__init__()
        self._flag: AsyncFlag | None = None
        self._has_begun = False  # and so have the loggers
        self._shall_stop = False
        self._has_saved = False

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Install our signal handlers in place of Lightning's, and stop if a signal has come already."""
        if stage != "fit":
            return
        if not any(isinstance(callback, LastCheckpoint) for callback in trainer.callbacks):  # type: ignore[attr-defined]
            raise InputError("trainer.callbacks: Preemption needs LastCheckpoint; add it")
        _keep_lightning_from_listening(trainer)
        listen()
        self._flag = AsyncFlag()
        self._has_begun = self._shall_stop = self._has_saved = False
        self._stop_if_asked(trainer)  # before the network goes to its device, and a checkpoint is read

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Stop at once if the signal came while the training started."""
        self._has_begun = True
        self._stop_if_asked(trainer)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Save if a rank was asked to stop, unless gradients are half accumulated or a validation is due.

        The training stops when the next batch begins; until then, Lightning writes the logs of this batch.
        """
        self._ask()
        epoch, data = trainer.fit_loop.epoch_loop, trainer.fit_loop._data_fetcher
        assert data is not None
        is_whole = not epoch._should_accumulate() and not epoch._should_check_val_fx(data)
        if self._shall_stop and is_whole:
            _last_checkpoint(trainer).save(trainer)
            self._has_saved = True

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Stop if the previous batch was saved as the last one."""
        if self._has_saved:
            self._stop(trainer)

    def on_validation_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Stop before a validation; `LastCheckpoint` has written the checkpoint that leads to it."""
        if self._shall_stop:
            self._stop(trainer)

    def on_validation_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Stop during a validation."""
        if self._flag is not None and not trainer.sanity_checking:
            self._ask()
            if self._shall_stop:
                self._stop(trainer)

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Stop asking: later validations have no checkpoint before them."""
        self._flag = None
        self._shall_stop = self._has_saved = False

    def _stop_if_asked(self, trainer: Trainer) -> None:
        assert self._flag is not None
        if self._flag.any_rank_now(bool(received())):
            self._stop(trainer)

    def _ask(self) -> None:
        assert self._flag is not None
        self._shall_stop = self._flag.any_rank(bool(received())) or self._shall_stop

    def _stop(self, trainer: Trainer) -> None:
        """Wait for the checkpoint, let W&B finish, requeue the SLURM job unless the stop is for good, and exit.

        The order matters: SLURM ends all processes of a job that it requeues, W&B's own among them.
        """
        if (writer := writer_of(trainer)) is not None:
            writer.wait()
        status = trainer.strategy.broadcast(stopped_for_good())
        if not trainer.is_global_zero:
            # Launchers take any status but 0 for a failure, and may kill rank 0, which still has to upload and requeue.
            comes_again = status is None and may_fail_alone(os.environ)
            raise Preempted("", status=EXIT_STATUS if comes_again else 0)
        path = _last_checkpoint(trainer).path(trainer)
        saved_step = _last_checkpoint(trainer).saved_step
        # Before `on_train_start` of a training that resumes, no step is known.
        state = f"saved after step {saved_step} in {path}" if saved_step and path.exists() else "before the first step"
        if status is not None:
            if self._has_begun:
                _finish(trainer, status)
            raise Preempted(f"stopped by {received()}, {state}; it resumes with --ckpt_path last", status)
        what_next = f"SLURM is asked to requeue job {job_name()}" if job_name() else "it resumes with --ckpt_path last"
        if self._has_begun:
            alert(trainer, "training preempted", f"{state}; {what_next}")
            for logger in trainer.loggers:
                if isinstance(logger, WandbLogger):
                    logger.experiment.mark_preempting()
            _finish(trainer, EXIT_STATUS)
        raise Preempted(f"stopped by {received() or 'the signal of another rank'}, {state}; {requeue()}")


def _finish(trainer: Trainer, status: int) -> None:
    """Let W&B upload the rest within the timeout."""
    for logger in trainer.loggers:
        if isinstance(logger, WandbLogger):
            finishing = Thread(target=logger.experiment.finish, kwargs={"exit_code": status}, daemon=True)
            finishing.start()
            finishing.join(UPLOAD_TIMEOUT)


def _last_checkpoint(trainer: Trainer) -> LastCheckpoint:
    return next(callback for callback in trainer.callbacks if isinstance(callback, LastCheckpoint))  # type: ignore[attr-defined]


def _keep_lightning_from_listening(trainer: Trainer) -> None:
    """Disable two parts of Lightning 2.6 that this callback replaces.

    Its SIGTERM handler broadcasts over the ranks in the middle of whatever they do. And before each batch it broadcasts
    through the device whether rank 0 got the signal, which empties the device's queue.
    """
    trainer._signal_connector.register_signal_handlers = lambda: None  # type: ignore[method-assign]
    trainer.fit_loop.epoch_loop._broadcast_sigterm_tensor = lambda: None  # type: ignore[method-assign]
