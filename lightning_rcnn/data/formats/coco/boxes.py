"""Read the box of an annotation or a result: x, y, width, height in pixels."""

from typing import Any

from lightning_rcnn.data.formats.coco.scalars import numbers, unquoted

Box = tuple[float, float, float, float]
"""x, y, width, height."""


def read_box(bbox: Any) -> Box | None:
    """Return the box in a `bbox`, perhaps with numbers that are not finite; None if it is not four numbers.

    Four zeros are no box either: programs write them for a missing box.
    """
    parsed = unquoted(bbox)
    if isinstance(parsed, str):  # "24, 16, 24, 16" or "24 16 24 16"
        parsed = parsed.replace(",", " ").split()
    values = numbers(parsed)
    if values is None or len(values) != 4 or not any(values):
        return None
    x, y, width, height = values
    return x, y, width, height


def edges_of(box: Box) -> tuple[float, float, float, float]:
    """Return x1, y1, x2, y2."""
    x, y, width, height = box
    return x, y, x + width, y + height


def box_of(edges: tuple[float, float, float, float]) -> Box:
    """Return x, y, width, height of x1, y1, x2, y2."""
    x1, y1, x2, y2 = edges
    return x1, y1, x2 - x1, y2 - y1
