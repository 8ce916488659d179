"""The step at which loggers get what belongs to a validation."""

from lightning.pytorch import Trainer


def logged_step(trainer: Trainer) -> int:
    """Return the step at which Lightning logs the figures of the validation that is running."""
    return trainer.fit_loop.epoch_loop._batches_that_stepped
