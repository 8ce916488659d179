"""Learning rate as a function of the step alone, so that a resumed run needs no state to continue exactly."""

import math
from collections.abc import Callable, Sequence
from typing import Literal

ScheduleName = Literal["steps", "cosine", "one_cycle", "constant"]


def learning_rate_factor(
    schedule: ScheduleName, total_steps: int, warmup_steps: int, milestones: Sequence[float]
) -> Callable[[int], float]:
    """The factor on the base learning rate, from the optimiser step (0-based).

    Args:
        schedule: "steps" divides by ten at each milestone (the papers'); "cosine" falls to zero along half a cosine;
            "one_cycle" rises along a cosine for 30% of the training and falls to nearly zero (Smith, arXiv 1708.07120,
            with torch's numbers); "constant" stays.
        total_steps: of the whole training.
        warmup_steps: linear rise from 0.001 of the rate (torchvision's and detectron2's start); one_cycle has its own.
        milestones: shares of `total_steps`, ascending.
    """
    drops = [round(milestone * total_steps) for milestone in milestones]

    def factor(step: int) -> float:
        if schedule == "one_cycle":
            return _one_cycle(step, total_steps)
        warmup = 1.0 if step >= warmup_steps else 0.001 + 0.999 * step / warmup_steps
        if schedule == "cosine":
            progress = (step - warmup_steps) / max(total_steps - warmup_steps, 1)
            return warmup * (1 + math.cos(math.pi * min(max(progress, 0.0), 1.0))) / 2
        if schedule == "steps":
            return warmup * 0.1 ** sum(step >= drop for drop in drops)
        return warmup

    return factor


def _one_cycle(step: int, total_steps: int, rise: float = 0.3, start: float = 1 / 25, end: float = 1 / 25e4) -> float:
    """From `start` along half a cosine to 1 at `rise` of the training, then to `end` at its last step."""
    top, last = rise * total_steps - 1, total_steps - 1
    if step <= top:
        return start + (1 - start) * (1 - math.cos(math.pi * step / max(top, 1))) / 2
    return end + (1 - end) * (1 + math.cos(math.pi * min((step - top) / max(last - top, 1), 1.0))) / 2
