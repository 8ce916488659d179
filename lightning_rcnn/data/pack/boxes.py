"""Apply the rules for boxes: edges in pixels, [0, width] x [0, height]."""

from math import isfinite

from lightning_rcnn.data.defects import Defect
from lightning_rcnn.data.geometry import ROUNDING

Edges = tuple[float, float, float, float]
"""x1, y1, x2, y2."""

MIN_SIDE = 0.01
"""Pixels. A box with a shorter side has no area: float32 cannot distinguish its edges in a large image."""


def check_box(edges: Edges, width: int, height: int) -> tuple[Edges | None, Defect | None]:
    """Apply the rules to one box.

    Args:
        edges: edges as annotated, in pixels.
        width, height: size of the image in pixels.

    Returns:
        The box clipped to the image, or None to skip it; and its defect, or None.
    """
    x1, y1, x2, y2 = edges
    if x1 >= 0 and y1 >= 0 and x2 - x1 >= MIN_SIDE and y2 - y1 >= MIN_SIDE and x2 <= width and y2 <= height:
        return edges, None  # the common case
    if not all(map(isfinite, edges)):
        return None, Defect.NON_FINITE_BOX
    if x2 < x1 or y2 < y1:
        return None, Defect.INVERTED_BOX
    if min(x2 - x1, y2 - y1) < MIN_SIDE:
        return None, Defect.ZERO_AREA_BOX
    clipped = (max(x1, 0.0), max(y1, 0.0), min(x2, float(width)), min(y2, float(height)))
    if min(clipped[2] - clipped[0], clipped[3] - clipped[1]) < MIN_SIDE:
        return None, Defect.BOX_OUTSIDE
    if max(-x1, -y1, x2 - width, y2 - height) > ROUNDING:
        return clipped, Defect.BOX_PARTLY_OUTSIDE
    return clipped, None
