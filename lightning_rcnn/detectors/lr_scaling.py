"""The learning rate for another global batch: the linear and the square-root rule."""

import math

from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import GradientAccumulationScheduler
from lightning.pytorch.utilities.rank_zero import rank_zero_info
from torch.optim import Optimizer

from lightning_rcnn.data.global_batch import global_batch_size
from lightning_rcnn.detectors.parameter_groups import ParameterGroupSettings
from lightning_rcnn.errors import InputError
from lightning_rcnn.plural import plural

_KEY = "model.parameter_groups.lr_rule"


def scaling_factor(settings: ParameterGroupSettings, trainer: Trainer) -> float:
    """Return the factor of the rates for the global batch of a training; 1 without a rule.

    Raises:
        InputError: the global batch is unknown, or changes during the training.
    """
    if settings.lr_rule is None:
        return 1.0
    batch_size = global_batch_size(trainer)
    if batch_size is None:
        raise InputError(
            f"{_KEY}: the images of an optimizer step are known with a DetectionDataModule only; take one, or leave "
            "out the rule"
        )
    callbacks = trainer.callbacks  # type: ignore[attr-defined]  # added later
    if any(isinstance(callback, GradientAccumulationScheduler) for callback in callbacks):
        raise InputError(
            f"{_KEY}: GradientAccumulationScheduler changes the images of an optimizer step during the training; give "
            "trainer.accumulate_grad_batches, or leave out the rule"
        )
    ratio = batch_size / (settings.reference_batch_size or batch_size)
    return ratio if settings.lr_rule == "linear" else math.sqrt(ratio)


def scale_rates(optimizer: Optimizer, settings: ParameterGroupSettings, trainer: Trainer) -> None:
    """Apply the rule to the rates of all parameter groups, and say so; without one, say whether the rate is for others.

    Args:
        optimizer: optimizer with the rates as they are given; changed in place.
        settings: the rule.
        trainer: trainer with its data module.

    Raises:
        InputError: see `scaling_factor`; or the optimizer has no rate.
    """
    if settings.lr_rule is None:
        _name_other_batch(settings.reference_batch_size, global_batch_size(trainer))
        return
    factor = scaling_factor(settings, trainer)
    if not all("lr" in group for group in optimizer.param_groups):
        raise InputError(f"{_KEY}: {type(optimizer).__name__} has no lr; take another optimizer, or leave out the rule")
    given = float(optimizer.param_groups[0]["lr"])
    for group in optimizer.param_groups:
        group["lr"] = group["lr"] * factor
    rule = settings.lr_rule.replace("_", "-")
    rank_zero_info(
        f"learning rate {given:g} for {settings.reference_batch_size} images -> {given * factor:g} for "
        f"{global_batch_size(trainer)} ({rule} rule)"
    )


def _name_other_batch(reference: int | None, batch_size: int | None) -> None:
    if reference is not None and batch_size is not None and batch_size != reference:
        rank_zero_info(
            f"The learning rate is for {plural(reference, 'image')} a step, and a step has {batch_size}: {_KEY} linear "
            "or square_root adapts it"
        )
