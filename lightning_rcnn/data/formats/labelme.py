"""Read LabelMe: a JSON file per image with polygons, rectangles, circles and masks; the image may be inside.

Shapes of one label and one group are parts of one object. `__ignore__` and `_background_`, which LabelMe's converters
number -1 and 0, are no classes. X-AnyLabeling and ISAT's exports have the same form.

Source: https://github.com/wkentaro/labelme
"""

import base64
import binascii
import json
import posixpath
from functools import partial
from io import BytesIO
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from PIL import Image

from lightning_rcnn.data.defects import Defect, Finding
from lightning_rcnn.data.formats.coco.scalars import flag
from lightning_rcnn.data.formats.coco.sizes import stated_size
from lightning_rcnn.data.formats.image_json import read_image_files
from lightning_rcnn.data.formats.labeled import LabeledData, LabeledImage, LabeledObject, Labels
from lightning_rcnn.data.formats.layout import Layout
from lightning_rcnn.data.formats.shapes import (
    class_name_of,
    edges_around,
    ellipse_object,
    join_groups,
    malformed,
    points_of,
    polygon_object,
    unsupported,
)
from lightning_rcnn.data.image_formats import IMAGE_SUFFIXES
from lightning_rcnn.errors import InputError
from lightning_rcnn.masks.run_length import encode_crop
from lightning_rcnn.plural import plural

_NO_CLASSES = ("__ignore__", "_background_")


def read_labelme(layout: Layout) -> LabeledData:
    """List a LabelMe data set: all its JSON files, in any folders.

    Raises:
        InputError: there are none.
    """
    splits, number = read_image_files(layout, partial(_read_file, layout))
    if not number:
        raise InputError(f"{layout.path}: no JSON file of LabelMe, with a list `shapes`")
    return LabeledData(plural(number, "JSON file"), splits)


def _read_file(layout: Layout, file: str, content: Any) -> LabeledImage | None:
    return _read_image(layout.root, file, content, layout.image_set) if is_labelme(content) else None


def is_labelme(content: Any) -> bool:
    """Return whether parsed JSON is a file of LabelMe."""
    return isinstance(content, dict) and isinstance(content.get("shapes"), list)


def read_embedded(path: Path) -> bytes:
    """Return the bytes of the image in a JSON file.

    Raises:
        OSError: it cannot be read.
    """
    try:
        return base64.b64decode(json.loads(path.read_bytes())["imageData"])
    except (ValueError, KeyError, TypeError) as error:
        raise OSError(f"its imageData cannot be read ({error})") from error


def _read_image(root: Path, file: str, content: dict[str, Any], images: frozenset[str]) -> LabeledImage:
    width, height = stated_size(content.get("imageWidth"), content.get("imageHeight"))
    numbered = list(enumerate(content["shapes"], start=1))
    ignored = [Finding(Defect.NO_CLASS, f"{file}, shape {number}") for number, shape in numbered if _is_no_class(shape)]
    shapes = [(number, shape) for number, shape in numbered if not _is_no_class(shape)]
    objects = [_read_shape(shape, number, width, height) for number, shape in shapes]
    groups = [shape.get("group_id") if isinstance(shape, dict) else None for _, shape in shapes]
    embedded = partial(read_embedded, root / file) if content.get("imageData") else None
    return LabeledImage(
        _image_name(file, content.get("imagePath"), images),
        Labels(join_groups(objects, groups), (width, height), ignored),
        file,
        embedded,
    )


def _image_name(file: str, stated: Any, images: frozenset[str]) -> str:
    """Return the name of the image relative to the set: as stated, or else like the JSON file."""
    folder, stem = posixpath.dirname(file), PurePosixPath(file).stem
    name = stated.replace("\\", "/") if isinstance(stated, str) and stated.strip() else ""
    path = posixpath.normpath(posixpath.join(folder, name)) if name else ""
    if path in images:
        return path
    beside = [each for suffix in sorted(IMAGE_SUFFIXES) if (each := posixpath.join(folder, stem + suffix)) in images]
    if len(beside) == 1:
        return beside[0]
    return path if path.startswith("../") else name or f"{stem}.jpg"


def _is_no_class(shape: Any) -> bool:
    return isinstance(shape, dict) and class_name_of(shape.get("label")) in _NO_CLASSES


def _read_shape(shape: Any, number: int, width: int, height: int) -> LabeledObject:
    place = f"shape {number}"
    if not isinstance(shape, dict):
        return malformed(f"{place}: not an object")
    points = points_of(shape.get("points"))
    if not points:
        return malformed(f"{place}: no points")
    name, kind = class_name_of(shape.get("label")), shape.get("shape_type") or "polygon"
    difficult = int(flag(shape.get("difficult")))
    if kind == "polygon":
        labeled = polygon_object(name, points, place)
    elif kind == "rectangle":
        labeled = LabeledObject(name, edges_around(points), place=place)
    elif kind in ("rotation", "oriented_rectangle"):
        labeled = LabeledObject(name, edges_around(points), place=place, defects=(Defect.ROTATED_BOX,))
    elif kind == "circle" and len(points) == 4:
        radius = float(np.hypot(points[2] - points[0], points[3] - points[1]))
        labeled = ellipse_object(name, points[0], points[1], radius, radius, place=place)
    elif kind == "mask":
        labeled = _read_mask(name, shape.get("mask"), points, width, height, place)
    else:
        return unsupported(kind, place)
    return labeled._replace(difficult=difficult)


def _read_mask(
    name: str | None, encoded: Any, points: list[float], width: int, height: int, place: str
) -> LabeledObject:
    """Return the object of a mask: a PNG in base64 of the pixels between two corners."""
    left, top = round(points[0]), round(points[1])
    try:
        pixels = np.asarray(Image.open(BytesIO(base64.b64decode(encoded)), formats=["PNG"])) > 0
    except (OSError, ValueError, TypeError, binascii.Error, Image.DecompressionBombError):
        return malformed(f"{place}: its mask is not a PNG in base64")
    crop = pixels[max(-top, 0) : max(height - top, 0), max(-left, 0) : max(width - left, 0)]
    if pixels.ndim != 2 or not crop.size:
        return malformed(f"{place}: its mask is not inside the image")
    rle = encode_crop(crop, max(top, 0), max(left, 0), height, width)
    return LabeledObject(name, segmentation=rle, place=place)
