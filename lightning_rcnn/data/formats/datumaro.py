"""Read Datumaro's JSON, which CVAT and Geti export: `annotations/SUBSET.json`, and the images in `images/SUBSET`.

Source: https://openvinotoolkit.github.io/datumaro/latest/docs/data-formats/formats/datumaro.html
"""

import posixpath
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any

from lightning_rcnn.data.formats.annotation_files import ImageNames, splits_of_files
from lightning_rcnn.data.formats.coco.scalars import flag, listed, number, numbers, whole_number
from lightning_rcnn.data.formats.coco.segmentations import read_segmentation
from lightning_rcnn.data.formats.coco.sizes import stated_size
from lightning_rcnn.data.formats.labeled import LabeledData, LabeledImage, LabeledObject, Labels
from lightning_rcnn.data.formats.layout import Layout, read_json
from lightning_rcnn.data.formats.shapes import (
    box_from_sizes,
    box_object,
    class_name_of,
    ellipse_object,
    join_groups,
    malformed,
    polygon_object,
    rotated,
    unsupported,
)
from lightning_rcnn.errors import InputError

_OF_IMAGES = ("label", "caption", "hash_key", "feature_vector")
"""Types of annotations that are of the whole image."""


def read_datumaro(layout: Layout) -> LabeledData:
    """List a data set of Datumaro's files.

    Raises:
        InputError: there are none.
    """
    files = [file for file in layout.with_suffix(".json") if layout.json_kind(file) == "datumaro"]
    if not files:
        raise InputError(f"{layout.path}: no JSON file of Datumaro, with `categories` and `items`")
    contents = {file: read_json(layout.root / file) for file in files}
    names = {file: _class_names(content) for file, content in contents.items()}
    images = {file: _read_images(layout, file, content, names[file]) for file, content in contents.items()}
    listed = list(dict.fromkeys(name for of_file in names.values() for name in of_file if name))
    return LabeledData(", ".join(files), splits_of_files(layout, images), listed or None)


def _class_names(content: Mapping[str, Any]) -> list[str | None]:
    categories = content.get("categories")
    label = categories.get("label") if isinstance(categories, dict) else None
    labels = label.get("labels") if isinstance(label, dict) else None
    return [class_name_of(each.get("name") if isinstance(each, dict) else None) for each in listed(labels)]


def _read_images(layout: Layout, file: str, content: Mapping[str, Any], names: list[str | None]) -> list[LabeledImage]:
    image_names = ImageNames(layout, file)
    images = []
    for position, item in enumerate(listed(content.get("items")), start=1):
        if not isinstance(item, dict):
            images.append(LabeledImage(f"{file}, item {position} (its image)", Labels(), file))
            continue
        stated = item.get("image")
        image = stated if isinstance(stated, dict) else {}
        written = str(image.get("path") or item.get("id") or "")
        of_subset = posixpath.normpath(f"{posixpath.dirname(file)}/../images/{PurePosixPath(file).stem}/{written}")
        name = of_subset if of_subset in layout.image_set else image_names.find(written)
        size = listed(image.get("size"))
        shapes = [
            (f"annotation {index}", each)
            for index, each in enumerate(listed(item.get("annotations")), start=1)
            if not (isinstance(each, dict) and each.get("type") in _OF_IMAGES)
        ]
        objects = [_read_shape(each, names, place) for place, each in shapes]
        groups = [(each.get("group") or None) if isinstance(each, dict) else None for _, each in shapes]
        height, width = size if len(size) == 2 else (0, 0)
        images.append(LabeledImage(name, Labels(join_groups(objects, groups), stated_size(width, height)), file))
    return images


def _read_shape(each: Any, names: list[str | None], place: str) -> LabeledObject:
    if not isinstance(each, dict):
        return malformed(f"{place}: not an object")
    label, kind = whole_number(each.get("label_id")), each.get("type")
    name = names[label] if label is not None and 0 <= label < len(names) else None
    stated = each.get("attributes")
    attributes = stated if isinstance(stated, dict) else {}
    if kind == "mask":
        labeled = LabeledObject(name, segmentation=read_segmentation(each.get("rle")), place=place)
    else:
        values = numbers(each.get("bbox" if kind in ("bbox", "rotated_bbox") else "points"))
        labeled = _read_numbers(kind, name, values or [], place)
        if kind == "bbox":  # CVAT states the angle of a box beside it
            labeled = rotated(labeled, number(attributes.get("rotation")) or 0.0)
    return labeled._replace(
        iscrowd=int(flag(attributes.get("is_crowd"))), difficult=int(flag(attributes.get("difficult")))
    )


def _read_numbers(kind: Any, name: str | None, values: list[float], place: str) -> LabeledObject:
    if kind == "polygon" and values:
        return polygon_object(name, values, place)
    if kind == "bbox":
        return box_from_sizes(name, values, place)
    if kind == "rotated_bbox" and len(values) == 5:
        x, y, width, height, degrees = values
        return rotated(box_object(name, x - width / 2, y - height / 2, width, height, place), degrees)
    if kind == "ellipse" and len(values) == 4:
        x1, y1, x2, y2 = values
        return ellipse_object(name, (x1 + x2) / 2, (y1 + y2) / 2, (x2 - x1) / 2, (y2 - y1) / 2, place=place)
    if kind in ("polygon", "rotated_bbox", "ellipse"):
        return malformed(f"{place}: not the numbers of a {kind}")
    return unsupported(kind, place)
