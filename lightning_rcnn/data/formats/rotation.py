"""Upright boxes around rotated ones."""

import math

Edges = tuple[float, float, float, float]


def edges_around_rotated(edges: Edges, degrees: float, pivot: tuple[float, float] | None = None) -> Edges:
    """Return the upright box around a box that is rotated clockwise.

    Args:
        edges: x1, y1, x2, y2 before the rotation, pixels.
        degrees: clockwise rotation, finite.
        pivot: point around which it is rotated; by default the center of the box.
    """
    x1, y1, x2, y2 = edges
    x, y = pivot or ((x1 + x2) / 2, (y1 + y2) / 2)
    sine, cosine = math.sin(math.radians(degrees)), math.cos(math.radians(degrees))
    corners = [(each_x - x, each_y - y) for each_x in (x1, x2) for each_y in (y1, y2)]
    columns = [x + dx * cosine - dy * sine for dx, dy in corners]
    rows = [y + dx * sine + dy * cosine for dx, dy in corners]
    return min(columns), min(rows), max(columns), max(rows)


def is_turned(degrees: float | None) -> bool:
    """Return whether a stated rotation turns a box; one that is not finite cannot be applied."""
    return degrees is not None and math.isfinite(degrees) and degrees % 360 != 0
