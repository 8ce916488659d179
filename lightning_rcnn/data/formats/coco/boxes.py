"""The box of an annotation or a result: x, y, width, height in pixels."""

from typing import Any

from lightning_rcnn.data.formats.coco.scalars import numbers, unquoted

Box = tuple[float, float, float, float]
"""x, y, width, height."""


def read_box(bbox: Any) -> Box | None:
    """The box that a `bbox` spells, perhaps with a number that is not finite; None if it is not four numbers.

    Four zeros are no box either: programs write them where they have none.
    """
    listed = unquoted(bbox)
    if isinstance(listed, str):  # "24, 16, 24, 16" or "24 16 24 16"
        listed = listed.replace(",", " ").split()
    values = numbers(listed)
    if values is None or len(values) != 4 or not any(values):
        return None
    x, y, width, height = values
    return x, y, width, height


def edges_of(box: Box) -> tuple[float, float, float, float]:
    """x1, y1, x2, y2."""
    x, y, width, height = box
    return x, y, x + width, y + height
