"""Coordinates given as shares of the image, 0 to 1, where COCO has pixels.

The rule looks at all boxes of a file together, and apart from them at all polygons: they are shares if every coordinate
lies between -0.5 and 1.5 and at least one of them is a fraction. In pixels such a file would have all of its objects
within the upper left pixel of their images. One box beyond it, and all of the file are in pixels; a set of such small
boxes in whole numbers is in pixels too.
"""

from collections.abc import Iterable, Sequence
from math import isfinite
from typing import Any

_LOWEST, _HIGHEST = -0.5, 1.5
"""Room for boxes that reach a little out of their image."""


def are_relative(coordinates: Iterable[Sequence[float]]) -> bool:
    """Whether the edges of all boxes, or the points of all polygons, of a file are shares of their images."""
    has_fraction = False
    for values in coordinates:
        if not all(map(isfinite, values)):
            continue
        if min(values) < _LOWEST or max(values) > _HIGHEST:
            return False
        has_fraction = has_fraction or any(not float(value).is_integer() for value in values)
    return has_fraction


def polygons_of(segmentation: Any) -> list[list[float]]:
    """The polygons of a segmentation as `read_segmentation` gives it; none of an RLE or of what is neither."""
    return [part for part in segmentation if _is_polygon(part)] if isinstance(segmentation, list) else []


def _is_polygon(part: Any) -> bool:
    return isinstance(part, list) and bool(part) and all(isinstance(value, float) for value in part)
