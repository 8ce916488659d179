"""Learning-rate schedules: a factor that depends on the step alone, so that a resumed run continues exactly.

They are torch schedulers, stepped after every optimizer step. The detector fills in `total_steps` if a schedule takes
it and it is not given; so torch's own `OneCycleLR` works, too.
"""

import math
from collections.abc import Callable, Sequence

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from lightning_rcnn.errors import InputError

_WARMUP_STEPS = 1000
_MOST_WARMUP = 0.1
"""Share of a training that its warm-up takes at most, unless its steps are given."""


class StepSchedule(LambdaLR):
    """Step schedule: the rate is divided by ten at each milestone, as in the papers.

    Args:
        optimizer: the optimizer; its learning rates are the maxima of the schedule.
        total_steps: number of steps of the training; the detector fills it in.
        warmup_steps: number of steps of the linear warm-up from 0.001 of the rate; by default 1000 (as in torchvision
            and detectron2), and in trainings of fewer than 10,000 steps a tenth of them.
        milestones: fractions of the training, ascending; the default is 16 and 22 of 26 epochs (torchvision's recipe).
    """

    def __init__(
        self,
        optimizer: Optimizer,
        total_steps: int | None = None,
        warmup_steps: int | None = None,
        milestones: Sequence[float] = (16 / 26, 22 / 26),
    ) -> None:
        if list(milestones) != sorted(milestones) or not all(0 <= share <= 1 for share in milestones):
            raise InputError(
                f"model.schedule: milestones {list(milestones)}: give fractions of the training, 0 to 1, ascending"
            )
        total_steps = _known(total_steps)
        super().__init__(optimizer, step_factor(total_steps, _warmup_steps(warmup_steps, total_steps), milestones))


class CosineSchedule(LambdaLR):
    """Cosine schedule: the rate falls to zero along half a cosine after the warm-up.

    Args:
        optimizer, total_steps, warmup_steps: as in `StepSchedule`.
    """

    def __init__(self, optimizer: Optimizer, total_steps: int | None = None, warmup_steps: int | None = None) -> None:
        total_steps = _known(total_steps)
        super().__init__(optimizer, cosine_factor(total_steps, _warmup_steps(warmup_steps, total_steps)))


class OneCycleSchedule(LambdaLR):
    """One-cycle schedule: the rate rises for 30% of the training and falls to nearly zero (Smith, arXiv 1708.07120).

    The numbers are those of torch's `OneCycleLR`, without its momentum cycle.

    Args:
        optimizer, total_steps: as in `StepSchedule`.
    """

    def __init__(self, optimizer: Optimizer, total_steps: int | None = None) -> None:
        super().__init__(optimizer, one_cycle_factor(_known(total_steps)))


class ConstantSchedule(LambdaLR):
    """Constant rate after the warm-up, also in a training without an end.

    Args:
        optimizer: as in `StepSchedule`.
        warmup_steps: number of steps of the linear warm-up from 0.001 of the rate.
    """

    def __init__(self, optimizer: Optimizer, warmup_steps: int = _WARMUP_STEPS) -> None:
        super().__init__(optimizer, lambda step: _warmup(step, warmup_steps))


def step_factor(total_steps: int, warmup_steps: int, milestones: Sequence[float]) -> Callable[[int], float]:
    """Return the factor of `StepSchedule` as a function of the optimizer step (0-based)."""
    drops = [round(milestone * total_steps) for milestone in milestones]
    return lambda step: _warmup(step, warmup_steps) * 0.1 ** sum(step >= drop for drop in drops)


def cosine_factor(total_steps: int, warmup_steps: int) -> Callable[[int], float]:
    """Return the factor of `CosineSchedule` as a function of the optimizer step (0-based)."""

    def factor(step: int) -> float:
        progress = (step - warmup_steps) / max(total_steps - warmup_steps, 1)
        return _warmup(step, warmup_steps) * (1 + math.cos(math.pi * min(max(progress, 0.0), 1.0))) / 2

    return factor


def one_cycle_factor(
    total_steps: int, rise: float = 0.3, start: float = 1 / 25, end: float = 1 / 25e4
) -> Callable[[int], float]:
    """Return the factor of `OneCycleSchedule`: `start` to 1 at `rise` of the training, `end` at its last step."""
    top, last = rise * total_steps - 1, total_steps - 1

    def factor(step: int) -> float:
        if step <= top:
            return start + (1 - start) * (1 - math.cos(math.pi * step / max(top, 1))) / 2
        return end + (1 - end) * (1 + math.cos(math.pi * min((step - top) / max(last - top, 1), 1.0))) / 2

    return factor


def _warmup_steps(given: int | None, total_steps: int) -> int:
    return min(_WARMUP_STEPS, int(_MOST_WARMUP * total_steps)) if given is None else given


def _warmup(step: int, warmup_steps: int) -> float:
    return 1.0 if step >= warmup_steps else 0.001 + 0.999 * step / warmup_steps


def _known(total_steps: int | None) -> int:
    if total_steps is None:
        raise TypeError("total_steps is needed")
    return total_steps
