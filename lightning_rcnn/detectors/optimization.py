"""Construction of the optimizer and the learning-rate schedule, in the forms of torch and Lightning."""

import functools
import inspect
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from lightning.pytorch import LightningModule
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau

from lightning_rcnn.detectors.lr_scaling import scale_rates
from lightning_rcnn.detectors.parameter_groups import ParameterGroupSettings
from lightning_rcnn.detectors.schedules import StepSchedule
from lightning_rcnn.errors import InputError
from lightning_rcnn.parts import part

OptimizerCallable = Callable[[Iterable[Any]], Optimizer]
LRSchedulerCallable = Callable[[Optimizer], LRScheduler | ReduceLROnPlateau]
"""Types of LightningCLI: a class and its arguments, without the parameters or the optimizer."""

# Plain data, which the command line can show; constructors build the classes.
DEFAULT_OPTIMIZER: Any = part(torch.optim.SGD, lr=0.02, momentum=0.9, weight_decay=1e-4)
DEFAULT_SCHEDULE: Any = part(StepSchedule)


def configured(
    module: LightningModule,
    make_optimizer: OptimizerCallable,
    make_schedule: LRSchedulerCallable,
    groups: list[dict[str, Any]],
    group_settings: ParameterGroupSettings,
    monitors: Mapping[str, str],
) -> dict[str, Any]:
    """Build the optimizer and the schedule, as `LightningModule.configure_optimizers` returns them.

    Args:
        module: the detector, attached to its trainer.
        make_optimizer: parameter groups -> optimizer.
        make_schedule: optimizer -> schedule, which is stepped after every optimizer step.
        groups: parameter groups.
        group_settings: settings of the groups, with the rule for their rates.
        monitors: metric that torch's `ReduceLROnPlateau` follows once per validation, by its mode: "min" (its default)
            or "max". Lightning's class of this name says itself what it follows.

    Raises:
        InputError: an argument is invalid; the schedule needs a training of known length; the schedule sets one rate
            for parameter groups of different rates; the rule for the rates cannot be applied; or there is no metric for
            the mode of the schedule.
    """
    options: dict[str, Any] = {}
    # Fused is much faster on the CPU, but excludes clipping under mixed precision; on CUDA torch's choice is good.
    if module.device.type == "cpu" and not module.trainer.gradient_clip_val and _takes(make_optimizer, "fused"):
        options["fused"] = True
    try:
        optimizer = make_optimizer(groups, **options)
    except (ValueError, TypeError) as error:  # torch's, about an invalid argument
        raise InputError(f"model.optimizer: {error}") from error
    _require_relative_rates(make_schedule, group_settings)
    scale_rates(optimizer, group_settings, module.trainer)
    total_steps = module.trainer.estimated_stepping_batches
    _require_short_warmup(module, make_schedule, total_steps)
    _require_rates_of_groups(make_schedule, optimizer)
    filled_in = {"total_steps": total_steps} if _takes(make_schedule, "total_steps") else {}
    if total_steps == float("inf") and filled_in:
        raise InputError("model.schedule needs an end: give trainer.max_epochs or trainer.max_steps")
    try:
        schedule = make_schedule(optimizer, **{name: int(value) for name, value in filled_in.items()})
    except (ValueError, TypeError) as error:
        raise InputError(f"model.schedule: {error}") from error
    if isinstance(schedule, ReduceLROnPlateau):
        monitor = getattr(schedule, "monitor", None) or monitors.get(schedule.mode)
        if monitor is None:
            raise InputError(
                f"model.schedule: ReduceLROnPlateau of mode {schedule.mode} follows val/loss, and no validation "
                f"computes losses; give it the mode max, with which it follows {monitors['max']}"
            )
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "monitor": monitor}}
    return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


def _require_short_warmup(module: LightningModule, make_schedule: Callable[..., Any], total_steps: float) -> None:
    """Refuse a training that would end before the warm-up that its schedule is given."""
    built, keywords = _built(make_schedule)
    parameters = inspect.signature(built).parameters if built else {}
    if "warmup_steps" not in parameters:
        return
    warmup = keywords.get("warmup_steps", parameters["warmup_steps"].default)
    if warmup is None:  # the schedule fits its warm-up to the training
        return
    if warmup < 0:
        raise InputError(f"model.schedule: warmup_steps {warmup}: give 0 or more")
    if warmup > total_steps and not module.trainer.fast_dev_run:  # type: ignore[attr-defined]  # Lightning adds it later
        raise InputError(
            f"model.schedule: warmup_steps {warmup}: the training ends after {int(total_steps)} steps, within the "
            "warm-up; give fewer"
        )


def _require_rates_of_groups(make_schedule: Callable[..., Any], optimizer: Optimizer) -> None:
    """Refuse a schedule that would set one rate for groups of different rates (torch's `OneCycleLR` and `CyclicLR`)."""
    built, keywords = _built(make_schedule)
    rates = [group["lr"] for group in optimizer.param_groups if "lr" in group]
    for key in ("max_lr", "base_lr"):
        value = keywords.get(key)
        if built and len(set(rates)) > 1 and isinstance(value, (int, float)):
            raise InputError(
                f"model.schedule: {built.__name__} sets one {key} {value} for parameter groups of different rates "
                f"{rates}; give {key} as a list, or take a schedule that multiplies rates"
            )


def _require_relative_rates(make_schedule: Callable[..., Any], group_settings: ParameterGroupSettings) -> None:
    """Refuse a rule for the rates with a schedule that sets rates itself (torch's `OneCycleLR` and `CyclicLR`)."""
    built, keywords = _built(make_schedule)
    for key in ("max_lr", "base_lr"):
        if group_settings.lr_rule is not None and built and keywords.get(key) is not None:
            raise InputError(
                f"model.parameter_groups.lr_rule: {built.__name__} sets the rate itself, by {key}; take a schedule "
                "that multiplies rates, such as OneCycleSchedule, or leave out the rule"
            )


def _takes(make: Callable[..., Any], name: str) -> bool:
    """Tell whether a class takes an argument that is not given yet."""
    built, keywords = _built(make)
    return built is not None and keywords.get(name) is None and name in inspect.signature(built).parameters


def _built(make: Callable[..., Any]) -> tuple[type | None, dict[str, Any]]:
    """Return the class that is built, and the arguments that are given already."""
    if not isinstance(make, functools.partial):
        return (make if isinstance(make, type) else None), {}
    return next((part for part in (make.func, *make.args) if isinstance(part, type)), None), make.keywords
