"""Shapes of label tools as boxes and polygons in pixels."""

import math
from collections.abc import Iterable, Sequence
from typing import Any

from lightning_rcnn.data.defects import Defect
from lightning_rcnn.data.formats.coco.scalars import number, numbers
from lightning_rcnn.data.formats.labeled import LabeledObject
from lightning_rcnn.data.formats.rotation import Edges, edges_around_rotated, is_turned

_CORNERS = 72
"""Corners of the polygon for a circle or an ellipse: it covers more than 99.8% of the area."""


def points_of(value: Any) -> list[float] | None:
    """Return [x, y, x, y, ...] of a list of pairs or of {"x": x, "y": y}; None if it is anything else."""
    if not isinstance(value, list):
        return None
    flat: list[float] = []
    for point in value:
        pair = [point.get("x"), point.get("y")] if isinstance(point, dict) else point
        parsed = numbers(pair)
        if parsed is None or len(parsed) != 2:
            return None
        flat += parsed
    return flat


def edges_around(points: Sequence[float]) -> Edges:
    """Return the upright box around points [x, y, x, y, ...]; not finite if one of them is not."""
    if not all(map(math.isfinite, points)):  # comparisons with NaN would leave it out
        return math.nan, math.nan, math.nan, math.nan
    return min(points[0::2]), min(points[1::2]), max(points[0::2]), max(points[1::2])


def box_object(class_name: str | None, x: Any, y: Any, width: Any, height: Any, place: str = "") -> LabeledObject:
    """Return the object of a box given by its upper left corner and its size, of any type."""
    values = [number(value) for value in (x, y, width, height)]
    if None in values:
        return malformed(f"{place}: not four numbers")
    left, top, w, h = (value for value in values if value is not None)
    return LabeledObject(class_name, (left, top, left + w, top + h), place=place)


def box_from_corners(class_name: str | None, corners: Iterable[Any], place: str = "") -> LabeledObject:
    """Return the object of a box given by x1, y1, x2, y2, of any type."""
    values = [number(value) for value in corners]
    if len(values) != 4 or None in values:
        return malformed(f"{place}: not four numbers")
    x1, y1, x2, y2 = (value for value in values if value is not None)
    return LabeledObject(class_name, (x1, y1, x2, y2), place=place)


def box_from_sizes(class_name: str | None, values: Iterable[Any], place: str = "") -> LabeledObject:
    """Return the object of a box given by x, y, width and height, of any type."""
    listed = list(values)
    if len(listed) != 4:
        return malformed(f"{place}: not four numbers")
    x, y, width, height = listed
    return box_object(class_name, x, y, width, height, place)


def polygon_object(class_name: str | None, points: Sequence[float], place: str = "") -> LabeledObject:
    """Return the object of a polygon [x, y, x, y, ...]; the rules skip one of fewer than three corners."""
    return LabeledObject(class_name, segmentation=[list(points)], place=place)


def ellipse_object(
    class_name: str | None, x: float, y: float, x_radius: float, y_radius: float, degrees: float = 0, place: str = ""
) -> LabeledObject:
    """Return the object of an ellipse, as a polygon, with the exact box around it.

    Args:
        class_name: name of the class.
        x, y: center in pixels.
        x_radius, y_radius: radii in pixels.
        degrees: clockwise rotation.
        place: location for messages.
    """
    if not math.isfinite(degrees):
        return malformed(f"{place}: its rotation is not finite")
    sine, cosine = math.sin(math.radians(degrees)), math.cos(math.radians(degrees))
    polygon = []
    for corner in range(_CORNERS):
        angle = 2 * math.pi * corner / _CORNERS
        dx, dy = x_radius * math.cos(angle), y_radius * math.sin(angle)
        polygon += [x + dx * cosine - dy * sine, y + dx * sine + dy * cosine]
    half_width, half_height = (
        math.hypot(x_radius * cosine, y_radius * sine),
        math.hypot(x_radius * sine, y_radius * cosine),
    )
    edges = (x - half_width, y - half_height, x + half_width, y + half_height)
    return LabeledObject(class_name, edges, [polygon], place=place)


def rotated(labeled: LabeledObject, degrees: float, pivot: tuple[float, float] | None = None) -> LabeledObject:
    """Return the object of the upright box around a box that is rotated clockwise.

    Args:
        labeled: object with a box.
        degrees: clockwise rotation.
        pivot: point around which it is rotated; by default the center of the box.
    """
    if not math.isfinite(degrees):
        return malformed(f"{labeled.place}: its rotation is not finite")
    if labeled.edges is None or not is_turned(degrees):
        return labeled
    edges = edges_around_rotated(labeled.edges, degrees, pivot)
    return labeled._replace(edges=edges, defects=(*labeled.defects, Defect.ROTATED_BOX))


def malformed(place: str) -> LabeledObject:
    """Return an object that is lost because its entry is not in the format."""
    return LabeledObject(None, place=place, lost=Defect.MALFORMED_OBJECT)


def unsupported(kind: Any, place: str) -> LabeledObject:
    """Return an object that is lost because its shape has no area."""
    return LabeledObject(None, place=f"{place}: {kind}", lost=Defect.UNSUPPORTED_SHAPE)


def class_name_of(value: Any) -> str | None:
    """Return the name of a class, which may also be a number; None if it is empty or something else."""
    text = str(value).strip() if isinstance(value, str | int | float) and not isinstance(value, bool) else ""
    return text or None


def join_groups(objects: list[LabeledObject], groups: list[Any]) -> list[LabeledObject]:
    """Join polygons of one class and one group, parts of one object, at the position of the first."""
    joined: list[LabeledObject] = []
    first: dict[tuple[str | None, str], int] = {}
    for labeled, group in zip(objects, groups, strict=True):
        key = (labeled.class_name, str(group))
        is_part = group is not None and isinstance(labeled.segmentation, list)
        if is_part and key in first:
            before = joined[first[key]]
            joined[first[key]] = before._replace(edges=None, segmentation=[*before.segmentation, *labeled.segmentation])
            continue
        if is_part:
            first[key] = len(joined)
        joined.append(labeled)
    return joined
