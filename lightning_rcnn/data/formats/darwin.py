"""Read V7's Darwin JSON, versions 1 and 2: a file for each image, with boxes, and polygons that may have holes.

Source: https://docs.v7labs.com/reference/darwin-json
"""

from collections.abc import Mapping
from functools import partial
from math import degrees
from typing import Any

from lightning_rcnn.data.defects import Defect
from lightning_rcnn.data.formats.annotation_files import ImageNames
from lightning_rcnn.data.formats.coco.scalars import number
from lightning_rcnn.data.formats.coco.sizes import stated_size
from lightning_rcnn.data.formats.image_json import read_image_files
from lightning_rcnn.data.formats.labeled import LabeledData, LabeledImage, LabeledObject, Labels
from lightning_rcnn.data.formats.layout import Layout
from lightning_rcnn.data.formats.outlines import even_odd_object
from lightning_rcnn.data.formats.shapes import (
    box_from_sizes,
    class_name_of,
    ellipse_object,
    malformed,
    points_of,
    unsupported,
)
from lightning_rcnn.errors import InputError
from lightning_rcnn.plural import plural


def read_darwin(layout: Layout) -> LabeledData:
    """List a data set of V7.

    Raises:
        InputError: there is none.
    """
    splits, number_of_files = read_image_files(layout, partial(_read_file, layout))
    if not number_of_files:
        raise InputError(f"{layout.path}: no JSON file of V7 Darwin, with `item` or `image` and `annotations`")
    return LabeledData(plural(number_of_files, "JSON file"), splits)


def is_darwin(content: Any) -> bool:
    """Return whether parsed JSON is the file of an image in V7's form."""
    return isinstance(content, dict) and isinstance(content.get("annotations"), list) and _item(content) is not None


def _item(content: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return what is said of the image; None in JSON of others."""
    item, image = content.get("item"), content.get("image")
    if isinstance(item, dict) and isinstance(item.get("name"), str):
        return item
    return image if isinstance(image, dict) and isinstance(image.get("filename"), str) else None


def _read_file(layout: Layout, file: str, content: Any) -> LabeledImage | None:
    item = _item(content) if is_darwin(content) else None
    if item is None:
        return None
    slots = item.get("slots")
    slot = slots[0] if isinstance(slots, list) and slots and isinstance(slots[0], dict) else item
    width, height = stated_size(slot.get("width"), slot.get("height"))
    objects = [
        LabeledObject(None, place=f"annotation {index}: of another slot", lost=Defect.UNKNOWN_IMAGE)
        if _is_of_other_slot(each, slot.get("slot_name"))
        else _read_annotation(each, f"annotation {index}", width, height)
        for index, each in enumerate(content["annotations"], start=1)
    ]
    written = str(item.get("name") or item.get("filename"))
    folder = str(item.get("path") or "").strip("/")
    names = ImageNames(layout, file)
    name = names.find(f"{folder}/{written}" if folder else written)
    name = name if name in layout.image_set else names.find(written)
    return LabeledImage(name, Labels([each for each in objects if each is not None], (width, height)), file)


def _is_of_other_slot(each: Any, slot_name: Any) -> bool:
    """Return whether an annotation is of another image of an item that has several."""
    names = each.get("slot_names") if isinstance(each, dict) else None
    return isinstance(names, list) and bool(names) and slot_name is not None and slot_name not in names


def _read_annotation(each: Any, place: str, width: int, height: int) -> LabeledObject | None:
    """Return the object of an annotation; None for a tag of the image."""
    if not isinstance(each, dict):
        return malformed(f"{place}: not an object")
    if "tag" in each:
        return None
    name, polygon = class_name_of(each.get("name")), each.get("polygon", each.get("complex_polygon"))
    box, ellipse = each.get("bounding_box"), each.get("ellipse")
    if isinstance(polygon, dict):
        return _read_polygon(name, polygon.get("paths", polygon.get("path")), width, height, place)
    if isinstance(ellipse, dict):
        return _read_ellipse(name, ellipse, place)
    if isinstance(box, dict):
        return box_from_sizes(name, (box.get(key) for key in ("x", "y", "w", "h")), place)
    kinds = each.keys() - {"id", "name", "slot_names", "properties", "annotators", "ranges"}
    return unsupported(", ".join(sorted(kinds)) or "nothing", place)


def _read_polygon(name: str | None, paths: Any, width: int, height: int, place: str) -> LabeledObject:
    is_one = isinstance(paths, list) and bool(paths) and isinstance(paths[0], dict)
    listed = [paths] if is_one else paths if isinstance(paths, list) else []
    outlines = [points_of(path) for path in listed]
    if any(outline is None for outline in outlines):
        return malformed(f"{place}: its paths are not lists of points")
    return even_odd_object(name, [outline for outline in outlines if outline is not None], width, height, place)


def _read_ellipse(name: str | None, ellipse: Mapping[str, Any], place: str) -> LabeledObject:
    pairs = [ellipse.get(key) for key in ("center", "radius")]
    values = [number(pair.get(axis)) for pair in pairs if isinstance(pair, dict) for axis in "xy"]
    if len(values) != 4 or None in values:
        return malformed(f"{place}: no center and radii")
    x, y, x_radius, y_radius = (value for value in values if value is not None)
    return ellipse_object(name, x, y, x_radius, y_radius, degrees(number(ellipse.get("angle")) or 0.0), place)
