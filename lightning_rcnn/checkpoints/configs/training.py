"""Forms of our training settings that configurations of several programs become."""

from collections.abc import Sequence
from typing import Any

from lightning_rcnn.checkpoints.translation import part


def nested(key: str, value: Any) -> dict[str, Any]:
    """Return a setting by its dotted key as nested settings."""
    for name in reversed(key.split(".")):
        value = {name: value}
    return value


def constant_parts(steps: Sequence[int], total: int, warmup_steps: int) -> dict[str, Any]:
    """Return the schedule that divides the rate by ten at each of `steps`, in a training of `total` steps or epochs."""
    milestones = [round(step / total, 6) for step in steps if step < total]
    return part("lightning_rcnn.detectors.schedules.StepSchedule", warmup_steps=warmup_steps, milestones=milestones)


def transforms_of(flip: str, lengths: Sequence[int], jitter: Sequence[float] | None) -> list[dict[str, Any]]:
    """Return training transforms as a configuration lists them.

    Args:
        flip: "horizontal", "vertical" or "none".
        lengths: lengths of the shorter edge to draw from, pixels; not used with a jitter.
        jitter: smallest and largest factor, height and width of large-scale jitter; None without it.
    """
    flips = {"horizontal": "HorizontalFlip", "vertical": "VerticalFlip"}
    transforms: list[dict[str, Any]] = [{"class_path": flips[flip]}] if flip in flips else []
    if jitter:
        low, high, height, width = jitter
        arguments = {"target_size": [int(height), int(width)], "scale_range": [low, high]}
        return [*transforms, {"class_path": "ScaleJitter", "init_args": arguments}]
    return [*transforms, {"class_path": "Resize", "init_args": {"min_sizes": list(lengths)}}]
