"""Read the VGG Image Annotator (VIA): JSON and CSV of version 2, and, in `via3.py`, of version 3.

A region has a shape and attributes, one of which is its class.

Source: https://www.robots.ox.ac.uk/~vgg/software/via/
"""

import csv
import io
import json
import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from lightning_rcnn.data.formats.annotation_files import ImageNames, splits_of_files
from lightning_rcnn.data.formats.coco.scalars import number, numbers
from lightning_rcnn.data.formats.labeled import LabeledData, LabeledImage, LabeledObject, Labels
from lightning_rcnn.data.formats.layout import Layout, read_json, read_text
from lightning_rcnn.data.formats.shapes import (
    box_object,
    class_name_of,
    ellipse_object,
    malformed,
    polygon_object,
    unsupported,
)
from lightning_rcnn.data.formats.via3 import Region, is_via3, read_via3, read_via3_csv
from lightning_rcnn.errors import InputError

ONLY_CLASS = "object"
"""Class of all regions if no region has attributes."""
_USUAL_NAMES = ("class", "label", "name", "type", "category", "object", "classname", "class_name", "labels", "species")


def read_via(layout: Layout, class_attribute: str | None = None) -> LabeledData:
    """List a data set of VIA.

    Args:
        layout: folder of the data set, or one JSON or CSV file.
        class_attribute: name of the attribute that is the class; by default the only one, or the one with a usual name.

    Raises:
        InputError: there are no files of VIA, or it is unknown which attribute is the class.
    """
    read: dict[str, dict[str, list[Region]]] = {}
    for file in layout.with_suffix(".json"):
        if layout.json_kind(file) == "via":
            content = read_json(layout.root / file)
            read[file] = read_via3(content) if is_via3(content) else _read_project(content)
    for file in layout.with_suffix(".csv"):
        if is_via_csv(layout, file):
            read[file] = _read_csv(layout.root / file)
    if not read:
        raise InputError(f"{layout.path}: no JSON or CSV file of VIA")
    regions = [region for images in read.values() for listed in images.values() for region in listed]
    attribute = class_attribute or _class_attribute(layout, regions)
    images = {}
    for file, listed in read.items():
        names = ImageNames(layout, file)
        images[file] = [
            LabeledImage(names.find(name), Labels([_with_class(region, attribute) for region in found]), file)
            for name, found in listed.items()
        ]
    notes = () if attribute else (f"no attributes, so all regions have the class {ONLY_CLASS}",)
    return LabeledData(", ".join(read), splits_of_files(layout, images), notes=notes)


def is_via_csv(layout: Layout, file: str) -> bool:
    """Return whether a CSV file is of VIA."""
    return any("region_shape_attributes" in line or "spatial_coordinates" in line for line in layout.lines(file, 12))


def read_shape(shape: Any, place: str) -> LabeledObject:
    """Return the object of VIA 2's `shape_attributes`, without a class."""
    if not isinstance(shape, dict) or "name" not in shape:
        return malformed(f"{place}: no shape")
    kind = shape["name"]
    if kind == "rect":
        return box_object(None, shape.get("x"), shape.get("y"), shape.get("width"), shape.get("height"), place)
    if kind == "polygon":
        x, y = numbers(shape.get("all_points_x")), numbers(shape.get("all_points_y"))
        if x is None or y is None or len(x) != len(y):
            return malformed(f"{place}: not as many x as y")
        return polygon_object(None, [value for pair in zip(x, y, strict=True) for value in pair], place)
    if kind in ("circle", "ellipse"):
        keys = ("cx", "cy", "r", "r") if kind == "circle" else ("cx", "cy", "rx", "ry")
        values = [number(shape.get(key)) for key in keys]
        if any(value is None for value in values):
            return malformed(f"{place}: not a {kind}")
        center_x, center_y, radius_x, radius_y = (value for value in values if value is not None)
        theta = number(shape.get("theta")) or 0.0  # radians
        return ellipse_object(None, center_x, center_y, radius_x, radius_y, math.degrees(theta), place)
    return unsupported(kind, place)


def _read_project(content: Any) -> dict[str, list[Region]]:
    """Return image -> regions of an exported file or of a saved project."""
    entries = content.get("_via_img_metadata", content)
    images: dict[str, list[Region]] = {}
    for entry in _values(entries):
        if not isinstance(entry, dict) or not isinstance(entry.get("filename"), str):
            continue
        listed = _values(entry.get("regions"))  # version 1 numbers them
        images.setdefault(entry["filename"], []).extend(
            _region(region, f"region {position}") for position, region in enumerate(listed, start=1)
        )
    return images


def _values(value: Any) -> list[Any]:
    """Return the values of an object or a list; none of anything else."""
    return list(value.values()) if isinstance(value, dict) else value if isinstance(value, list) else []


def _region(region: Any, place: str) -> Region:
    if not isinstance(region, dict):
        return Region(malformed(f"{place}: not an object"), {})
    attributes = region.get("region_attributes")
    return Region(read_shape(region.get("shape_attributes"), place), attributes if isinstance(attributes, dict) else {})


def _read_csv(path: Path) -> dict[str, list[Region]]:
    text = read_text(path)
    if "spatial_coordinates" in text[:4000]:
        return read_via3_csv(text, path)
    rows = csv.DictReader(io.StringIO(text.lstrip("#")))
    images: dict[str, list[Region]] = {}
    for row in rows:
        place = f"line {rows.line_num}"
        name = row.get("filename")
        if not name:
            continue
        regions = images.setdefault(name, [])
        if (row.get("region_count") or "0").strip() == "0":
            continue
        try:
            shape = json.loads(row.get("region_shape_attributes") or "")
            attributes = json.loads(row.get("region_attributes") or "{}")
        except ValueError:
            regions.append(Region(malformed(f"{place}: not JSON in its columns"), {}))
            continue
        regions.append(_region({"shape_attributes": shape, "region_attributes": attributes}, place))
    return images


def _class_attribute(layout: Layout, regions: Iterable[Region]) -> str | None:
    present = dict.fromkeys(name for region in regions for name in region.attributes)
    if len(present) < 2:
        return next(iter(present), None)
    usual = [name for name in present if name.strip().lower() in _USUAL_NAMES]
    if len(usual) == 1:
        return usual[0]
    raise InputError(
        f"{layout.path}: regions have the attributes {', '.join(present)}; say which is the class: "
        f"`lightning-rcnn pack via {layout.path} --class_attribute {next(iter(present))}`"
    )


def _with_class(region: Region, attribute: str | None) -> LabeledObject:
    if attribute is None:
        return region.labeled._replace(class_name=ONLY_CLASS)
    value = region.attributes.get(attribute)
    if isinstance(value, dict):  # check boxes
        checked = [name for name, is_checked in value.items() if is_checked]
        value = checked[0] if len(checked) == 1 else None
    return region.labeled._replace(class_name=class_name_of(value))
