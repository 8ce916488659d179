"""Coordinates of an image at one size, for the image at another size: numbers that are x and y by turns."""

from typing import Any

FourNumbers = tuple[float, float, float, float]


def scale_box(box: FourNumbers, x: float, y: float) -> FourNumbers:
    """Scale x, y, width, height, or x1, y1, x2, y2, by a factor for each direction."""
    return box[0] * x, box[1] * y, box[2] * x, box[3] * y


def scale_points(points: Any, x: float, y: float) -> Any:
    """Scale polygons, lists of any depth, by a factor for each direction; what is no list stays as it is."""
    if not isinstance(points, list):
        return points
    return [
        value * (y if place % 2 else x) if isinstance(value, int | float) else scale_points(value, x, y)
        for place, value in enumerate(points)
    ]
