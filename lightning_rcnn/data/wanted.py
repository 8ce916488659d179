"""How much of a data set a run wants, known before it starts."""

from math import inf

from lightning.pytorch import Trainer
from lightning.pytorch.trainer.states import TrainerFn

from lightning_rcnn.data.dataset import Purpose


def wanted_batches(trainer: Trainer, purpose: Purpose, num_batches: int) -> float:
    """Return the number of batches of one device that a run takes from a loader: all epochs together, at most.

    Args:
        trainer: trainer, whose limits count (`limit_train_batches`, `max_steps`, `fast_dev_run` and their like).
        purpose: what the batches are for.
        num_batches: length of the loader.
    """
    limits = {
        "training": trainer.limit_train_batches,
        "prediction": trainer.limit_predict_batches,
        "evaluation": trainer.limit_val_batches,
    }
    limit = trainer.limit_test_batches if trainer.state.fn == TrainerFn.TESTING else limits[purpose]
    batches: float = min(num_batches, limit if isinstance(limit, int) else int(limit * num_batches))
    if trainer.state.fn == TrainerFn.FITTING:
        batches *= inf if trainer.max_epochs in (None, -1) else trainer.max_epochs
    if purpose == "training" and trainer.max_steps != -1:
        batches = min(batches, trainer.max_steps * trainer.accumulate_grad_batches)
    return batches
