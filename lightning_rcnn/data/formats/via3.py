"""Read JSON and CSV of VIA 3.

Source: https://gitlab.com/vgg/via/-/blob/master/via-3.x.y/README.md
"""

import csv
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from lightning_rcnn.data.formats.coco.scalars import numbers
from lightning_rcnn.data.formats.labeled import LabeledObject
from lightning_rcnn.data.formats.shapes import (
    box_object,
    edges_around,
    ellipse_object,
    malformed,
    polygon_object,
    unsupported,
)
from lightning_rcnn.errors import InputError
from lightning_rcnn.plural import plural

_KEYS = {"project", "config", "attribute", "file", "metadata", "view"}
_POINT, _RECTANGLE, _CIRCLE, _ELLIPSE, _LINE, _POLYLINE, _POLYGON, _EXTREME_RECTANGLE = range(1, 9)
_ATTRIBUTES = re.compile(r"^#\s*ATTRIBUTE\s*=\s*(\{.*\})\s*$", re.MULTILINE)
_HEADER = re.compile(r"^#?\s*(?:CSV_HEADER\s*=\s*)?(metadata_id,.*)$", re.MULTILINE)


class Region(NamedTuple):
    """A region before its class is known.

    Attributes:
        labeled: object without a class.
        attributes: name of an attribute -> value.
    """

    labeled: LabeledObject
    attributes: Mapping[str, Any]


def is_via3(content: Any) -> bool:
    """Return whether parsed JSON is a project of VIA 3."""
    return isinstance(content, dict) and content.keys() >= _KEYS


def read_via3(content: dict[str, Any]) -> dict[str, list[Region]]:
    """Return image -> regions of a project."""
    files, views = _objects(content["file"]), _objects(content["view"])
    names = {key: str(file.get("fname") or file.get("src") or "") for key, file in files.items()}
    images: dict[str, list[Region]] = {}
    image_of_view = {}
    for key, view in views.items():
        fids = view.get("fid_list")
        listed = [names[str(fid)] for fid in fids if names.get(str(fid))] if isinstance(fids, list) else []
        if listed:
            image_of_view[key] = listed[0]
            images.setdefault(listed[0], [])
    attributes = _objects(content["attribute"])
    for key, metadata in _objects(content["metadata"]).items():
        image = image_of_view.get(str(metadata.get("vid")))
        if image is not None and metadata.get("xy"):  # without: a remark on the whole image
            region = Region(read_shape(metadata["xy"], f"metadata {key}"), _named(metadata.get("av"), attributes))
            images[image].append(region)
    return images


def read_via3_csv(text: str, path: Path) -> dict[str, list[Region]]:
    """Return image -> regions of a CSV file, whose header is a comment.

    Raises:
        InputError: the header is missing.
    """
    header = _HEADER.search(text)
    if header is None:
        raise InputError(f"{path}: VIA's CSV without its header, which begins with metadata_id; export it again")
    columns = [column.strip() for column in header[1].split(",")]
    stated = _ATTRIBUTES.search(text)
    attributes = _objects(_parsed(stated[1])) if stated else {}
    images: dict[str, list[Region]] = {}
    rows = [line for line in text.splitlines() if line.strip() and not line.startswith("#") and line != header[0]]
    for number, row in enumerate(csv.reader(rows), start=1):
        cells = dict(zip(columns, row, strict=False))
        files = _parsed(cells.get("file_list", ""))
        if not isinstance(files, list) or not files:
            continue
        regions = images.setdefault(str(files[0]), [])
        points = _parsed(cells.get("spatial_coordinates", ""))
        if points:
            labeled = read_shape(points, f"row {number}")
            regions.append(Region(labeled, _named(_parsed(cells.get("metadata", "")), attributes)))
    return images


def read_shape(values: Any, place: str) -> LabeledObject:
    """Return the object of VIA 3's coordinates, a number for the shape and its coordinates; without a class."""
    parsed = numbers(values)
    if not parsed or not parsed[0].is_integer():
        return malformed(f"{place}: no coordinates")
    kind, points = int(parsed[0]), parsed[1:]
    if kind == _RECTANGLE and len(points) == 4:
        x, y, width, height = points
        return box_object(None, x, y, width, height, place)
    if kind == _CIRCLE and len(points) == 3:
        return ellipse_object(None, points[0], points[1], points[2], points[2], place=place)
    if kind == _ELLIPSE and len(points) == 4:
        x, y, x_radius, y_radius = points
        return ellipse_object(None, x, y, x_radius, y_radius, place=place)
    if kind == _POLYGON and len(points) % 2 == 0:
        return polygon_object(None, points, place)
    if kind == _EXTREME_RECTANGLE and len(points) >= 4 and len(points) % 2 == 0:
        return LabeledObject(None, edges_around(points), place=place)
    if kind in (_POINT, _LINE, _POLYLINE):
        return unsupported({_POINT: "point", _LINE: "line", _POLYLINE: "polyline"}[kind], place)
    return malformed(f"{place}: {plural(len(points), 'coordinate')} of shape {kind}")


def _named(values: Any, attributes: Mapping[str, dict[str, Any]]) -> dict[str, Any]:
    """Return attribute names -> values; the id of an option is replaced by its text."""
    named = {}
    for key, value in values.items() if isinstance(values, dict) else ():
        attribute = attributes.get(str(key), {})
        options = attribute.get("options")
        text = options.get(str(value), value) if isinstance(options, dict) else value
        named[str(attribute.get("aname") or key)] = text
    return named


def _objects(value: Any) -> dict[str, dict[str, Any]]:
    return {str(key): each for key, each in value.items() if isinstance(each, dict)} if isinstance(value, dict) else {}


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return None
