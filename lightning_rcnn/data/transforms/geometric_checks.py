"""Checks of the arguments of geometric transforms."""

from collections.abc import Sequence

from lightning_rcnn.data.transforms.checks import limits
from lightning_rcnn.errors import InputError

IMAGENET_COLOR = (124, 116, 104)
"""The mean color of ImageNet, which pretrained networks see as zeros."""


def checked_share(name: str, min_visible: float) -> float:
    """Return the share of an object that must stay visible.

    Args:
        name: class of the transform.
        min_visible: given share.

    Raises:
        InputError: the share is not in 0..1.
    """
    if not 0 <= min_visible <= 1:
        raise InputError(f"data.train_transforms: {name}: min_visible {min_visible} is not a share; give 0 to 1")
    return min_visible


def checked_limits(name: str, key: str, given: Sequence[float], low: float, high: float) -> tuple[float, float]:
    """Return the smallest and largest value.

    Args:
        name: class of the transform.
        key: its argument.
        given: two numbers.
        low, high: range in which both must be.

    Raises:
        InputError: not two numbers in that range, the smaller one first.
    """
    if len(given) != 2:
        raise InputError(f"data.train_transforms: {name}: {key} is {list(given)}; give [smallest, largest]")
    return limits(name, key, given, low, high)


def checked_color(name: str, fill: Sequence[int]) -> tuple[int, int, int]:
    """Return a color.

    Args:
        name: class of the transform.
        fill: red, green and blue, 0 to 255.

    Raises:
        InputError: not three numbers in that range.
    """
    if len(fill) != 3 or not all(0 <= part <= 255 for part in fill):
        raise InputError(f"data.train_transforms: {name}: fill is {list(fill)}; give [red, green, blue], each 0 to 255")
    red, green, blue = fill
    return red, green, blue
