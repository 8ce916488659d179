"""Recognize coordinates that are relative to the image size, 0 to 1; COCO's coordinates are pixels.

The rule considers all boxes of a file together, and separately all polygons. They are relative if every coordinate is
between -0.5 and 1.5 and at least one is a fraction. In pixels, all objects of such a file would be within the upper
left pixel of their images. A single larger coordinate means pixels, and so do small integers alone.
"""

from collections.abc import Iterable, Sequence
from math import isfinite
from typing import Any

_MIN_RELATIVE, _MAX_RELATIVE = -0.5, 1.5
"""Limits of relative coordinates: boxes may exceed their image a little."""


def are_relative(coordinates: Iterable[Sequence[float]]) -> bool:
    """Return whether the edges of all boxes, or the points of all polygons, of a file are relative coordinates."""
    has_fraction = False
    for values in coordinates:
        if not all(map(isfinite, values)):
            continue
        if min(values) < _MIN_RELATIVE or max(values) > _MAX_RELATIVE:
            return False
        has_fraction = has_fraction or any(not float(value).is_integer() for value in values)
    return has_fraction


def polygons_of(segmentation: Any) -> list[list[float]]:
    """Return the polygons in a result of `read_segmentation`; an empty list for anything else."""
    return [part for part in segmentation if _is_polygon(part)] if isinstance(segmentation, list) else []


def _is_polygon(part: Any) -> bool:
    return isinstance(part, list) and bool(part) and all(isinstance(value, float) for value in part)
