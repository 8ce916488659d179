"""Checks of the arguments of transforms that several of them have."""

from collections.abc import Sequence
from typing import TypeVar

from lightning_rcnn.errors import InputError

Number = TypeVar("Number", int, float)


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
        InputError: a limit is out of range, or the smallest value is larger than the largest.
    """
    smallest, largest = given
    if not low <= smallest <= largest <= high:
        raise InputError(
            f"data.train_transforms: {name}: {key} {list(given)} is out of range; "
            f"give [smallest, largest] in {low:g} to {high:g}"
        )
    return smallest, largest
