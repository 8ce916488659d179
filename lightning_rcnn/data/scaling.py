"""Scale coordinates to another size of the image: numbers that alternate between x and y."""

from typing import Any

FourNumbers = tuple[float, float, float, float]


def scale_box(box: FourNumbers, x: float, y: float) -> FourNumbers:
    """Scale (x, y, width, height) or (x1, y1, x2, y2) by the factors `x` and `y`."""
    return box[0] * x, box[1] * y, box[2] * x, box[3] * y


def scale_points(points: Any, x: float, y: float) -> Any:
    """Scale polygons, in lists of any depth, by the factors `x` and `y`; anything else stays unchanged."""
    if not isinstance(points, list):
        return points
    return [
        value * (y if index % 2 else x) if isinstance(value, int | float) else scale_points(value, x, y)
        for index, value in enumerate(points)
    ]
