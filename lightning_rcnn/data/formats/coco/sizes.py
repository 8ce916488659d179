"""Read the stated size of an image."""

from typing import Any

from lightning_rcnn.data.formats.coco.scalars import whole_number

MAX_SIDE = 10**6
"""Pixels. No image has a longer side, and masks of such an image would take hours."""


def stated_size(width: Any, height: Any) -> tuple[int, int]:
    """Return (width, height) in pixels, of any type; (0, 0), for a size that is not stated, unless both are sides."""
    sides = whole_number(width), whole_number(height)
    if sides[0] is None or sides[1] is None or min(sides[0], sides[1]) < 1 or max(sides[0], sides[1]) > MAX_SIDE:
        return 0, 0
    return sides[0], sides[1]
