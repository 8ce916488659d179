"""Read Supervisely's projects, as of Dataset Ninja: a JSON file for each image, and `meta.json` with the classes.

    meta.json   ds0/img/a.jpg   ds0/ann/a.jpg.json

Rectangles, polygons with holes, and bitmaps, which are PNGs in compressed base64 beside their upper left corner. The
corners of a rectangle are pixels, both inside, as its SDK counts; with fractions they are what was drawn.

Source: https://developer.supervisely.com/getting-started/supervisely-annotation-format/objects and
https://developer.supervisely.com/app-development/advanced/coordinate-system
"""

import base64
import posixpath
import zlib
from functools import partial
from io import BytesIO
from typing import Any

import numpy as np
from PIL import Image

from lightning_rcnn.data.formats.annotation_files import ImageNames
from lightning_rcnn.data.formats.coco.scalars import listed
from lightning_rcnn.data.formats.coco.sizes import stated_size
from lightning_rcnn.data.formats.image_json import read_image_files
from lightning_rcnn.data.formats.labeled import LabeledData, LabeledImage, LabeledObject, Labels
from lightning_rcnn.data.formats.layout import Layout, read_json
from lightning_rcnn.data.formats.outlines import object_with_holes
from lightning_rcnn.data.formats.shapes import class_name_of, edges_around, malformed, points_of, unsupported
from lightning_rcnn.errors import InputError
from lightning_rcnn.masks.run_length import encode_crop
from lightning_rcnn.plural import plural

_META = "meta.json"
_MAX_BYTES = 1 << 26
"""Bytes of a decompressed PNG: bounds the memory of a damaged one."""


def read_supervisely(layout: Layout) -> LabeledData:
    """List a project of Supervisely.

    Raises:
        InputError: there is none.
    """
    splits, number = read_image_files(layout, partial(_read_file, layout))
    if not number:
        raise InputError(f"{layout.path}: no JSON file of Supervisely, with `size` and `objects`")
    return LabeledData(plural(number, "JSON file"), splits, _class_names(layout))


def is_supervisely(content: Any) -> bool:
    """Return whether parsed JSON is the file of an image in Supervisely's form."""
    return isinstance(content, dict) and isinstance(content.get("size"), dict) and "objects" in content


def _class_names(layout: Layout) -> list[str] | None:
    """Return the classes in the order of the project; None if no file lists them."""
    files = [file for file in layout.all_files if posixpath.basename(file) == _META]
    contents = [read_json(layout.root / file) for file in files]
    listed = [content.get("classes") if isinstance(content, dict) else None for content in contents]
    titles = [
        class_name_of(each.get("title"))
        for classes in listed
        for each in (classes if isinstance(classes, list) else [])
        if isinstance(each, dict)
    ]
    return list(dict.fromkeys(title for title in titles if title)) or None


def _read_file(layout: Layout, file: str, content: Any) -> LabeledImage | None:
    if not is_supervisely(content):
        return None
    width, height = stated_size(content["size"].get("width"), content["size"].get("height"))
    objects = [
        _read_object(each, f"object {number}", width, height)
        for number, each in enumerate(listed(content["objects"]), start=1)
    ]
    return LabeledImage(_image_name(layout, file), Labels(objects, (width, height)), file)


def _image_name(layout: Layout, file: str) -> str:
    """Return the image of `ds0/ann/a.jpg.json`: `ds0/img/a.jpg`; of older projects `a.json` is of any suffix."""
    folder, name = posixpath.split(file.removesuffix(".json"))
    beside = posixpath.join(posixpath.dirname(folder), "img", name)
    return beside if beside in layout.image_set else ImageNames(layout, file).find(name)


def _read_object(each: Any, place: str, width: int, height: int) -> LabeledObject:
    if not isinstance(each, dict):
        return malformed(f"{place}: not an object")
    name, kind = class_name_of(each.get("classTitle")), each.get("geometryType")
    if kind == "bitmap" or (kind is None and each.get("bitmap")):
        return _read_bitmap(name, each.get("bitmap"), width, height, place)
    stated = each.get("points")
    points = stated if isinstance(stated, dict) else {}
    exterior = points_of(points.get("exterior"))
    if not exterior:
        return malformed(f"{place}: no points") if kind in ("rectangle", "polygon") else unsupported(kind, place)
    if kind == "rectangle":
        return _read_rectangle(name, exterior, place)
    if kind != "polygon":
        return unsupported(kind, place)
    holes = [points_of(hole) for hole in listed(points.get("interior"))]
    if any(hole is None for hole in holes):
        return malformed(f"{place}: its holes are not lists of points")
    return object_with_holes(name, exterior, [hole for hole in holes if hole], width, height, place)


def _read_rectangle(name: str | None, corners: list[float], place: str) -> LabeledObject:
    """Return the object of a rectangle: of two pixels, both inside, or of two points where there are fractions."""
    if len(corners) < 4:
        return malformed(f"{place}: not two corners")
    left, top, right, bottom = edges_around(corners)
    last = int(all(value.is_integer() for value in corners))
    return LabeledObject(name, (left, top, right + last, bottom + last), place=place)


def _read_bitmap(name: str | None, bitmap: Any, width: int, height: int, place: str) -> LabeledObject:
    try:
        left, top = (int(value) for value in bitmap["origin"])
        unpacked = zlib.decompressobj().decompress(base64.b64decode(bitmap["data"]), _MAX_BYTES)
        pixels = np.asarray(Image.open(BytesIO(unpacked), formats=["PNG"]))
    except Exception as error:  # zlib, base64 and Pillow raise anything on damaged data
        return malformed(f"{place}: its bitmap cannot be read ({' '.join(str(error).split())})")
    mask = (pixels[..., -1] if pixels.ndim == 3 else pixels) > 0  # with transparency, that is the mask
    crop = mask[max(-top, 0) : max(height - top, 0), max(-left, 0) : max(width - left, 0)]
    if not crop.size:
        return malformed(f"{place}: its bitmap is not inside the image")
    return LabeledObject(name, segmentation=encode_crop(crop, max(top, 0), max(left, 0), height, width), place=place)
