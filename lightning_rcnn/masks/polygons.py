"""Validation of segmentation polygons, lists [x, y, x, y, ...] in pixels of the original frame."""

from math import inf
from typing import Any

import numpy as np

_MAX_COORDINATE = 1e9
"""Limit of the absolute value of a coordinate, pixels; no image is as large."""
_MIN_AREA = 1e-6
"""Square pixels; less is rounding, such as the area of a line."""
MAX_CORNERS = 2000
"""Corners of a polygon whose edges are compared with each other; the time grows with the square of their number."""
_EDGES_AT_ONCE = 256
"""Edges that are compared with all others at a time; bounds the memory for polygons of many thousand corners."""


def is_polygon(value: Any) -> bool:
    """Tell whether a value is a list of at least three points with finite coordinates."""
    if not isinstance(value, list) or len(value) < 6 or len(value) % 2:
        return False
    return all(isinstance(number, int | float) and abs(number) < _MAX_COORDINATE for number in value)


def reach(polygon: list[float], width: int, height: int) -> float:
    """Compute how far a polygon extends beyond an image, in pixels; negative if it is inside, infinite if outside.

    A polygon that extends by more than the size of the image also counts as outside: no annotation of the image looks
    like that, and the COCO API would trace its edges in steps of a fifth of a pixel.
    """
    xs, ys = polygon[::2], polygon[1::2]
    low_x, low_y, high_x, high_y = min(xs), min(ys), max(xs), max(ys)
    beyond_x, beyond_y = max(-low_x, high_x - width), max(-low_y, high_y - height)
    if high_x <= 0 or high_y <= 0 or low_x >= width or low_y >= height or beyond_x > width or beyond_y > height:
        return inf
    return float(max(beyond_x, beyond_y))


def has_many_corners(polygon: list[float]) -> bool:
    """Tell whether a polygon has more than `MAX_CORNERS` corners, so that `touches_itself` would take seconds."""
    return len(polygon) > 2 * MAX_CORNERS


def touches_itself(polygon: list[float]) -> bool:
    """Tell whether two edges that are not neighbors have a point in common.

    If there are none, the winding number is the same in the whole interior. Then the even-odd rule, by which the COCO
    API fills polygons, and the nonzero rule agree.
    """
    points = np.array(polygon, np.float64).reshape(-1, 2)
    begins = points[(points != _shifted(points)).any(axis=1)]  # a repeated point makes no edge
    ends = _shifted(begins)
    low_x, low_y = np.minimum(begins, ends).T
    high_x, high_y = np.maximum(begins, ends).T
    for first in range(0, len(begins), _EDGES_AT_ONCE):
        chunk, later = slice(first, first + _EDGES_AT_ONCE), slice(first, None)
        overlap = (low_x[chunk, None] <= high_x[later]) & (low_x[later] <= high_x[chunk, None])
        overlap &= (low_y[chunk, None] <= high_y[later]) & (low_y[later] <= high_y[chunk, None])
        edge, other = overlap.nonzero()
        distance = other - edge
        is_pair = (distance > 1) & (distance < len(begins) - 1)
        edge, other = edge[is_pair] + first, other[is_pair] + first
        if len(edge) and _cross(begins[edge], ends[edge], begins[other], ends[other]).any():
            return True
    return False


def _shifted(points: np.ndarray) -> np.ndarray:
    """Return for each point [n, 2] of a closed line the next one; `np.roll` takes several times as long."""
    return np.concatenate([points[1:], points[:1]])


def _cross(begin: np.ndarray, end: np.ndarray, other_begin: np.ndarray, other_end: np.ndarray) -> np.ndarray:
    """Tell of pairs of edges whose bounding boxes overlap whether neither has both ends on one side of the other."""
    is_crossed = _side(begin, end, other_begin) * _side(begin, end, other_end) <= 0
    is_other_crossed = _side(other_begin, other_end, begin) * _side(other_begin, other_end, end) <= 0
    return is_crossed & is_other_crossed


def _side(begin: np.ndarray, end: np.ndarray, point: np.ndarray) -> np.ndarray:
    """Return the side of an edge [n, 2] on which a point [n, 2] lies, as a sign; 0 on the edge's line."""
    along, to_point = end - begin, point - begin
    return np.sign(along[:, 0] * to_point[:, 1] - along[:, 1] * to_point[:, 0])


def clip_polygon(points: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """Clip a polygon to a rectangle, side by side (Sutherland and Hodgman 1974).

    Parts that a side separates stay connected by lines along it, without an area.

    Args:
        points: corners [k, 2], (x, y).
        low, high: (x, y) of two corners of the rectangle.

    Returns:
        Corners of the clipped polygon, float64 [n, 2]; none if it is outside.
    """
    points = np.asarray(points, np.float64)
    for axis in (0, 1):
        for side, limit in ((1.0, low[axis]), (-1.0, high[axis])):
            depth = side * (points[:, axis] - limit)
            is_inside = depth >= 0
            if is_inside.all():
                continue
            next_points, next_depth = np.roll(points, -1, axis=0), np.roll(depth, -1)
            crosses = is_inside != np.roll(is_inside, -1)
            share = depth / np.where(crosses, depth - next_depth, 1.0)
            crossings = points + share[:, None] * (next_points - points)
            crossings[:, axis] = limit
            corners = np.stack([points, crossings], axis=1)
            points = corners[np.stack([is_inside, crosses], axis=1)]
    return points


def doubled_area(points: np.ndarray) -> float:
    """Compute twice the area of a polygon [k, 2]; negative if it turns counterclockwise in a displayed image."""
    next_points = np.roll(points, -1, axis=0)
    return float(np.sum(points[:, 0] * next_points[:, 1] - points[:, 1] * next_points[:, 0]))


def has_area(points: np.ndarray) -> bool:
    """Tell whether a polygon [k, 2] is more than a line."""
    return abs(doubled_area(points)) > _MIN_AREA
