"""Read SuperAnnotate's vector projects: a JSON file for each image, `a.jpg.json`, in old ones `a.jpg___objects.json`.

Source: https://doc.superannotate.com/docs/vector-json
"""

from functools import partial
from typing import Any

from lightning_rcnn.data.defects import Defect
from lightning_rcnn.data.formats.annotation_files import ImageNames
from lightning_rcnn.data.formats.coco.scalars import listed, number, numbers
from lightning_rcnn.data.formats.coco.sizes import stated_size
from lightning_rcnn.data.formats.image_json import read_image_files
from lightning_rcnn.data.formats.labeled import LabeledData, LabeledImage, LabeledObject, Labels
from lightning_rcnn.data.formats.layout import Layout
from lightning_rcnn.data.formats.outlines import object_with_holes
from lightning_rcnn.data.formats.shapes import (
    box_from_corners,
    class_name_of,
    edges_around,
    ellipse_object,
    join_groups,
    malformed,
    unsupported,
)
from lightning_rcnn.errors import InputError
from lightning_rcnn.plural import plural

_NOT_SHAPES = ("tag", "comment")
_NOT_STARTED = "NotStarted"
"""Status of an image that nobody began to annotate."""


def read_superannotate(layout: Layout) -> LabeledData:
    """List a project of SuperAnnotate.

    Raises:
        InputError: there is none.
    """
    waiting: list[str] = []
    splits, number_of_files = read_image_files(layout, partial(_read_file, layout, waiting))
    if not number_of_files:
        raise InputError(f"{layout.path}: no JSON file of SuperAnnotate, with `metadata` and `instances`")
    notes = (f"{plural(len(waiting), 'image')} that nobody began to annotate, left out",) if waiting else ()
    return LabeledData(plural(number_of_files, "JSON file"), splits, notes=notes)


def is_superannotate(content: Any) -> bool:
    """Return whether parsed JSON is the file of an image in SuperAnnotate's form."""
    return isinstance(content, dict) and isinstance(content.get("metadata"), dict) and "instances" in content


def _read_file(layout: Layout, waiting: list[str], file: str, content: Any) -> LabeledImage | None:
    """Return the image of a file; None if it is none, or is added to those that wait for their annotation."""
    if not is_superannotate(content):
        return None
    metadata = content["metadata"]
    if metadata.get("status") == _NOT_STARTED and not content["instances"]:
        waiting.append(file)
        return None
    width, height = stated_size(metadata.get("width"), metadata.get("height"))
    shapes = [
        each
        for each in listed(content["instances"])
        if not (isinstance(each, dict) and each.get("type") in _NOT_SHAPES)
    ]
    objects = [_read_shape(each, f"instance {index}", width, height) for index, each in enumerate(shapes, start=1)]
    groups = [(each.get("groupId") or None) if isinstance(each, dict) else None for each in shapes]
    written = str(metadata.get("name") or file.rpartition("/")[2].removesuffix(".json").removesuffix("___objects"))
    labels = Labels(join_groups(objects, groups), (width, height))
    return LabeledImage(ImageNames(layout, file).find(written), labels, file)


def _read_shape(each: Any, place: str, width: int, height: int) -> LabeledObject:
    if not isinstance(each, dict):
        return malformed(f"{place}: not an object")
    name, kind, points = class_name_of(each.get("className")), each.get("type"), each.get("points")
    if kind == "bbox":
        stated = points if isinstance(points, dict) else {}
        return box_from_corners(name, map(stated.get, ("x1", "y1", "x2", "y2")), place)
    if kind == "rbbox":
        stated = points if isinstance(points, dict) else {}
        corners = numbers([stated.get(f"{axis}{corner}") for corner in range(1, 5) for axis in "xy"])
        if corners is None:
            return malformed(f"{place}: not four corners")
        return LabeledObject(name, edges_around(corners), place=place, defects=(Defect.ROTATED_BOX,))
    if kind == "polygon":
        excluded = each.get("exclude") or []
        outline, *holes = map(numbers, (points, *(excluded if isinstance(excluded, list) else [None])))
        if outline is None or None in holes:
            return malformed(f"{place}: its points are not numbers")
        return object_with_holes(name, outline, [hole for hole in holes if hole is not None], width, height, place)
    if kind == "ellipse":
        values = [number(each.get(key)) for key in ("cx", "cy", "rx", "ry", "angle")]
        x, y, x_radius, y_radius, degrees = (value or 0.0 for value in values)
        if None in values[:4]:
            return malformed(f"{place}: no center and radii")
        return ellipse_object(name, x, y, x_radius, y_radius, degrees, place)
    return unsupported(kind, place)
