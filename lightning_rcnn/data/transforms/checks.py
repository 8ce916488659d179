"""Checks of the arguments of transforms that several of them have."""

from collections.abc import Sequence
from typing import TypeVar

from lightning_rcnn.errors import InputError

Number = TypeVar("Number", int, float)

IMAGENET_COLOR = (124, 116, 104)
"""The mean color of ImageNet, which pretrained networks see as zeros."""


def probability(name: str, p: float) -> float:
    """Return a probability.

    Args:
        name: class of the transform.
        p: given probability.

    Raises:
        InputError: `p` is not in 0..1.
    """
    if not 0 <= p <= 1:
        raise InputError(f"data.train_transforms: {name}: p {p} is not a probability; give 0 to 1")
    return p


def limits(name: str, key: str, given: Sequence[Number], low: float, high: float) -> tuple[Number, Number]:
    """Return the limits between which a transform draws.

    Args:
        name: class of the transform.
        key: its argument.
        given: smallest and largest value.
        low, high: range in which both must be.

    Raises:
        InputError: not two numbers in that range, the smaller one first.
    """
    if len(given) != 2:
        raise InputError(f"data.train_transforms: {name}: {key} is {list(given)}; give [smallest, largest]")
    smallest, largest = given
    if not low <= smallest <= largest <= high:
        raise InputError(
            f"data.train_transforms: {name}: {key} {list(given)} is out of range; "
            f"give [smallest, largest] in {low:g} to {high:g}"
        )
    return smallest, largest


def checked_share(name: str, given: float, key: str = "min_visible") -> float:
    """Return a share of an object, such as the one that must stay visible.

    Args:
        name: class of the transform.
        given: share.
        key: its argument.

    Raises:
        InputError: the share is not in 0..1.
    """
    if not 0 <= given <= 1:
        raise InputError(f"data.train_transforms: {name}: {key} {given} is not a share; give 0 to 1")
    return given


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
