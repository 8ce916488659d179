"""Lightning's training loops with three more rules, so that a training can resume from every end.

- A training stops after a whole optimizer step, never between accumulated batches, whose gradients no checkpoint holds.
- The final weights of a training are validated, wherever in an epoch it ends.
- An epoch that ended early (`max_steps`, `max_time`, early stopping) is unfinished: its checkpoint resumes with its
  next batch. Lightning 2.6 counts such an epoch as done and resumes with the next one.

A validation that a checkpoint leads to (`lead_to_validation`) also runs if the training is at its end.
"""

from typing import Any

from lightning.pytorch import Trainer
from lightning.pytorch.loops import _EvaluationLoop, _TrainingEpochLoop
from lightning.pytorch.loops.fetchers import _DataFetcher
from lightning.pytorch.loops.fit_loop import _FitLoop
from lightning.pytorch.loops.progress import _BatchProgress
from lightning.pytorch.loops.utilities import _is_max_limit_reached


def use_exact_loops(trainer: Trainer) -> "ExactFitLoop":
    """Replace the loops of a trainer by these; call this before they load a checkpoint."""
    loop: Any = trainer.fit_loop
    loop.__class__ = ExactFitLoop
    loop.epoch_loop.__class__ = ExactEpochLoop
    loop.epoch_loop.val_loop.__class__ = ExactValidationLoop
    return loop


def lead_to_validation(checkpoint: dict[str, Any]) -> None:
    """Make a training that resumes from the checkpoint begin with the validation that is about to start."""
    # Lightning 2.6 writes this within a validation batch, and reads it as: no batch is done.
    progress = checkpoint["loops"]["fit_loop"]["epoch_loop.val_loop.batch_progress"]
    for counts, done in ((progress["total"], progress["total"]["completed"]), (progress["current"], 0)):
        counts |= {"ready": done + 1, "started": done + 1, "processed": done, "completed": done}
    progress["is_last_batch"] = False


class ExactFitLoop(_FitLoop):
    """The loop over epochs."""

    epoch_loop: "ExactEpochLoop"

    @property
    def done(self) -> bool:
        """Tell whether the training is at its end."""
        return not self.epoch_loop.owes_validation and super().done

    def _iteration_based_training(self) -> bool:
        """Return False: with `max_steps`, Lightning resumes a finished epoch and counts it twice."""
        return False

    @property
    def has_open_epoch(self) -> bool:
        """Tell whether Lightning counts an epoch as processed that ended early."""
        epoch: Any = self.epoch_progress.current
        batches = self.epoch_loop.batch_progress
        is_counted = epoch.processed == epoch.started == epoch.ready
        return is_counted and not batches.is_last_batch and 0 < batches.current.ready < self.max_batches

    def state_dict(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """Return the progress of this loop; for an epoch that ended early, the progress within it."""
        state = super().state_dict(*args, **kwargs)
        if self.has_open_epoch:
            for counts in state["epoch_progress"].values():
                counts["processed"] = counts["completed"] = counts["started"] - 1
            for name in ("total", "current"):
                state["epoch_loop.batch_progress"][name]["completed"] -= 1
            state["epoch_loop.state_dict"]["_batches_that_stepped"] -= 1
        return state


class ExactEpochLoop(_TrainingEpochLoop):
    """The loop over the batches of an epoch."""

    @property
    def owes_validation(self) -> bool:
        """Tell whether the loaded checkpoint leads to a validation that has not started."""
        progress = self.val_loop.batch_progress
        return self.val_loop.restarting and _is_within_batch(progress)

    @property
    def done(self) -> bool:
        """Tell whether the epoch, or the training within it, is at its end."""
        return not self.owes_validation and not self._should_accumulate() and super().done

    @property
    def _ends_training(self) -> bool:
        """Tell whether no optimizer step follows the last batch."""
        if self._should_accumulate():
            return False
        fit_loop = self.trainer.fit_loop
        epoch: Any = fit_loop.epoch_progress.current
        is_last_epoch = _is_max_limit_reached(epoch.processed + 1, fit_loop.max_epochs or -1)
        return (
            _is_max_limit_reached(self.global_step, self.max_steps)
            or (is_last_epoch and self._num_ready_batches_reached())
            or (self.trainer.should_stop and fit_loop._can_stop_early)
        )

    def _should_check_val_fx(self, data_fetcher: _DataFetcher) -> bool:
        """Tell whether a validation is due after the last batch."""
        if self.owes_validation or self._ends_training:
            return self.trainer.enable_validation
        if self.trainer.should_stop:
            return False  # gradients are half accumulated, and their step is the last one
        return super()._should_check_val_fx(data_fetcher)


class ExactValidationLoop(_EvaluationLoop):
    """The loop over the batches of a validation."""

    def reset(self) -> None:
        """Forget the batch at which a validation was interrupted; Lightning would count it as unfinished."""
        if self.restarting:
            self.batch_progress.total.reset_on_restart()
        super().reset()


def _is_within_batch(progress: _BatchProgress) -> bool:
    total: Any = progress.total
    return total.ready == total.started == total.processed + 1 == total.completed + 1
