"""What a polygon of a segmentation may be like: a list [x, y, x, y, ...] in pixels of the original frame."""

from typing import Any

import numpy as np

_LARGEST_NUMBER = 1e9
"""Of a coordinate, either way; no image is as large."""
MOST_CORNERS = 2000
"""Of a polygon whose edges are compared with each other: the time grows with the square of their number."""
_EDGES_AT_ONCE = 256
"""Each is compared with all others: what bounds the memory for polygons of many thousand corners."""


def is_polygon(value: Any) -> bool:
    """Whether it is a list of at least three points with finite numbers."""
    if not isinstance(value, list) or len(value) < 6 or len(value) % 2:
        return False
    return all(isinstance(number, int | float) and abs(number) < _LARGEST_NUMBER for number in value)


def reach(polygon: list[float], width: int, height: int) -> float:
    """How far a polygon reaches out of an image, in pixels; negative if it lies within, infinite if it is outside.

    One that reaches out further than the image is large counts as outside too: no annotation of that image is like it,
    and the COCO API would walk along its edges in steps of a fifth of a pixel.
    """
    points = np.array(polygon, np.float64).reshape(-1, 2)
    size = np.array([width, height], np.float64)
    low, high = points.min(axis=0), points.max(axis=0)
    beyond = np.maximum(-low, high - size)
    is_outside = np.any(high <= 0) or np.any(low >= size) or np.any(beyond > size)
    return float("inf") if is_outside else float(beyond.max())


def has_many_corners(polygon: list[float]) -> bool:
    """Whether there are more than `MOST_CORNERS`, so that `touches_itself` would take seconds."""
    return len(polygon) > 2 * MOST_CORNERS


def touches_itself(polygon: list[float]) -> bool:
    """Whether two edges that are not neighbors have a point in common.

    Where they have none, the winding number is the same in the whole interior; so the even-odd rule, by which the COCO
    API fills polygons, and the nonzero rule agree.
    """
    corners = np.array(polygon, np.float64).reshape(-1, 2)
    corners = corners[np.any(corners != np.roll(corners, 1, axis=0), axis=1)]  # a repeated point makes no edge
    begins, ends = corners, np.roll(corners, -1, axis=0)
    numbers = np.arange(len(corners))
    for first in range(0, len(corners), _EDGES_AT_ONCE):
        some = numbers[first : first + _EDGES_AT_ONCE]
        meets = _meet(begins[some, None], ends[some, None], begins, ends)
        distance = np.abs(some[:, None] - numbers)
        if np.any(meets & (distance > 1) & (distance < len(corners) - 1)):
            return True
    return False


def _meet(begin: np.ndarray, end: np.ndarray, other_begin: np.ndarray, other_end: np.ndarray) -> np.ndarray:
    """Whether edges have a point in common: neither has both ends on one side of the other, and their boxes overlap."""
    overlap = np.all(
        (np.minimum(begin, end) <= np.maximum(other_begin, other_end))
        & (np.minimum(other_begin, other_end) <= np.maximum(begin, end)),
        axis=-1,
    )
    parted = _side(begin, end, other_begin) * _side(begin, end, other_end) <= 0
    other_parted = _side(other_begin, other_end, begin) * _side(other_begin, other_end, end) <= 0
    return overlap & parted & other_parted


def _side(begin: np.ndarray, end: np.ndarray, point: np.ndarray) -> np.ndarray:
    """On which side of an edge a point lies, as a sign; 0 on the edge's line."""
    along, toward = end - begin, point - begin
    return np.sign(along[..., 0] * toward[..., 1] - along[..., 1] * toward[..., 0])
