"""The optimizer and the schedule of a detector, in the forms of torch and Lightning."""

import functools
import inspect
from collections.abc import Callable, Iterable
from typing import Any

import torch
from lightning.pytorch import LightningModule
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau

from lightning_rcnn.detectors.schedules import StepSchedule
from lightning_rcnn.errors import InputError
from lightning_rcnn.parts import part

OptimizerCallable = Callable[[Iterable[Any]], Optimizer]
LRSchedulerCallable = Callable[[Optimizer], LRScheduler | ReduceLROnPlateau]
"""The forms of LightningCLI: a class and its arguments, without the parameters or the optimizer."""

# As plain data, which the command line can show and a constructor turns into what the type says.
DEFAULT_OPTIMIZER: Any = part(torch.optim.SGD, lr=0.02, momentum=0.9, weight_decay=1e-4)
DEFAULT_SCHEDULE: Any = part(StepSchedule)


def configured(
    module: LightningModule,
    make_optimizer: OptimizerCallable,
    make_schedule: LRSchedulerCallable,
    groups: list[dict[str, Any]],
    monitor: str,
) -> dict[str, Any]:
    """Return what `LightningModule.configure_optimizers` returns.

    Args:
        module: attached to its trainer.
        make_optimizer: from parameter groups.
        make_schedule: from the optimizer; stepped after every optimizer step.
        groups: of parameters.
        monitor: the metric that torch's `ReduceLROnPlateau` follows, once a validation.

    Raises:
        InputError: a value that cannot be; the schedule needs the length of the training, which has none, or has one
            rate for groups of several.
    """
    options: dict[str, Any] = {}
    # Fused is much faster on the CPU, but excludes clipping under mixed precision; on CUDA torch's choice is good.
    if module.device.type == "cpu" and not module.trainer.gradient_clip_val and _takes(make_optimizer, "fused"):
        options["fused"] = True
    try:
        optimizer = make_optimizer(groups, **options)
    except (ValueError, TypeError) as error:  # torch's, of a value that cannot be
        raise InputError(f"model.optimizer: {error}") from error
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
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "monitor": monitor}}
    return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


def _require_short_warmup(module: LightningModule, make_schedule: Callable[..., Any], total_steps: float) -> None:
    """Refuse a training that would never have the learning rate that it is given."""
    built, keywords = _built(make_schedule)
    parameters = inspect.signature(built).parameters if built else {}
    warmup = keywords.get("warmup_steps", parameters["warmup_steps"].default) if "warmup_steps" in parameters else 0
    if warmup < 0:
        raise InputError(f"model.schedule: warmup_steps {warmup}: 0 or more")
    if warmup > total_steps and not module.trainer.fast_dev_run:  # type: ignore[attr-defined]  # Lightning adds it later
        raise InputError(
            f"model.schedule: warmup_steps {warmup}: the training ends after {int(total_steps)} steps, before it has "
            "the learning rate; make it smaller"
        )


def _require_rates_of_groups(make_schedule: Callable[..., Any], optimizer: Optimizer) -> None:
    """Refuse a schedule that would give all groups one rate (torch's `OneCycleLR` and `CyclicLR`)."""
    built, keywords = _built(make_schedule)
    rates = [group["lr"] for group in optimizer.param_groups if "lr" in group]
    for key in ("max_lr", "base_lr"):
        value = keywords.get(key)
        if built and len(set(rates)) > 1 and isinstance(value, (int, float)):
            raise InputError(
                f"model.schedule: {built.__name__} gives all groups of parameters the {key} {value}, and they have "
                f"rates of their own: {rates}; give {key} as a list, or take a schedule that multiplies rates"
            )


def _takes(make: Callable[..., Any], name: str) -> bool:
    """Whether an argument can be given, and is not given yet."""
    built, keywords = _built(make)
    return built is not None and keywords.get(name) is None and name in inspect.signature(built).parameters


def _built(make: Callable[..., Any]) -> tuple[type | None, dict[str, Any]]:
    """The class that is built, and the arguments that are given already."""
    if not isinstance(make, functools.partial):
        return (make if isinstance(make, type) else None), {}
    return next((part for part in (make.func, *make.args) if isinstance(part, type)), None), make.keywords
