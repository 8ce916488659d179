"""Read CVAT's XML "for images" 1.1: boxes, polygons, masks and ellipses of many images in one file.

Source: https://docs.cvat.ai/docs/dataset_management/formats/format-cvat/
"""

import re
import xml.etree.ElementTree as ElementTree
from collections import defaultdict

import numpy as np

from lightning_rcnn.data.defects import Defect
from lightning_rcnn.data.formats.annotation_files import ImageNames
from lightning_rcnn.data.formats.coco.scalars import number, whole_number
from lightning_rcnn.data.formats.coco.sizes import stated_size
from lightning_rcnn.data.formats.labeled import LabeledData, LabeledImage, LabeledObject, LabeledSplit, Labels
from lightning_rcnn.data.formats.layout import Layout, require_memory
from lightning_rcnn.data.formats.shapes import (
    box_object,
    ellipse_object,
    join_groups,
    malformed,
    polygon_object,
    rotated,
    unsupported,
)
from lightning_rcnn.data.formats.splits import in_order, split_of
from lightning_rcnn.data.formats.xml_files import MalformedXmlError, parse_xml
from lightning_rcnn.errors import InputError
from lightning_rcnn.masks.run_length import encode_crop

_SHAPES = ("box", "polygon", "mask", "ellipse", "polyline", "points", "cuboid", "skeleton")
_MAX_PIXELS = 1 << 28
"""More than Pillow reads: bounds the memory of a damaged size."""


def read_cvat(layout: Layout) -> LabeledData:
    """List a data set of CVAT's XML files for images.

    Raises:
        InputError: there are none, one does not parse, or it is of a video.
    """
    by_split: defaultdict[str, list[LabeledImage]] = defaultdict(list)
    names: dict[str, None] = {}
    files = [file for file in layout.with_suffix(".xml") if is_cvat(layout, file)]
    for file in files:
        root = _parse(layout, file)
        names |= {
            element.text.strip(): None
            for label in root.iter("label")
            if (element := label.find("name")) is not None and element.text and label.find("parent") is None
        }
        image_names = ImageNames(layout, file)
        for image in root.findall("image"):
            written = image.get("name") or ""
            subset = image.get("subset") or ""
            found = image_names.find(written)
            if subset and found == written.strip():
                found = image_names.find(f"{subset}/{written}")
            split = split_of(f"{subset}/-") or split_of(file)
            by_split[split].append(LabeledImage(found, _read_image(image), file))
    if not by_split:
        raise InputError(f"{layout.path}: no image in an XML file of CVAT")
    used = {labeled.class_name for images in by_split.values() for image in images for labeled in _objects(image)}
    others = sorted(name for name in used if name is not None and name not in names)
    if len(by_split) > 1 and "" in by_split:
        by_split["other"] = by_split.pop("")
    splits = [LabeledSplit(split, layout.root, by_split[split], lists_all=True) for split in in_order(by_split)]
    return LabeledData(", ".join(files), splits, [*names, *others] or None)


def is_cvat(layout: Layout, file: str) -> bool:
    """Return whether an XML file is of CVAT, for images or a video."""
    return bool(re.search(r"<annotations>\s*(<version>|<meta>|<image\b|<track\b)", layout.head(file)))


def _parse(layout: Layout, file: str) -> ElementTree.Element:
    path = layout.root / file
    require_memory(path)
    try:
        root = parse_xml(path)
    except MalformedXmlError as error:
        raise InputError(f"{path}: malformed XML: {error}") from error
    if root.find("track") is not None and root.find("image") is None:
        raise InputError(
            f"{path}: is of a video (CVAT for video 1.1); export it as CVAT for images 1.1, with its images"
        )
    return root


def _objects(image: LabeledImage) -> list[LabeledObject]:
    return list(image.labels.objects) if isinstance(image.labels, Labels) else []


def _read_image(image: ElementTree.Element) -> Labels:
    width, height = stated_size(image.get("width"), image.get("height"))
    shapes = [shape for shape in image if shape.tag in _SHAPES]
    objects = [_read_shape(shape, position, width, height) for position, shape in enumerate(shapes, start=1)]
    groups = [group if (group := shape.get("group_id")) and group != "0" else None for shape in shapes]
    return Labels(join_groups(objects, groups), (width, height))


def _read_shape(shape: ElementTree.Element, position: int, width: int, height: int) -> LabeledObject:
    place, name = f"{shape.tag} {position}", shape.get("label") or None
    degrees = number(shape.get("rotation")) or 0.0
    if shape.tag == "box":
        corners = [number(shape.get(key)) for key in ("xtl", "ytl", "xbr", "ybr")]
        if any(corner is None for corner in corners):
            return malformed(f"{place}: not four numbers")
        x1, y1, x2, y2 = (corner for corner in corners if corner is not None)
        return rotated(box_object(name, x1, y1, x2 - x1, y2 - y1, place), degrees)
    if shape.tag == "polygon":
        points = [number(value) for value in re.split(r"[,;]", shape.get("points") or "")]
        if len(points) % 2 or any(value is None for value in points):
            return malformed(f"{place}: its points are not pairs of numbers")
        return polygon_object(name, [value for value in points if value is not None], place)
    if shape.tag == "ellipse":
        values = [number(shape.get(key)) for key in ("cx", "cy", "rx", "ry")]
        if any(value is None for value in values):
            return malformed(f"{place}: not four numbers")
        x, y, x_radius, y_radius = (value for value in values if value is not None)
        return ellipse_object(name, x, y, x_radius, y_radius, degrees, place)
    if shape.tag == "mask":
        return _read_mask(shape, name, place, width, height)
    return unsupported(shape.tag, place)


def _read_mask(shape: ElementTree.Element, name: str | None, place: str, width: int, height: int) -> LabeledObject:
    """Return the object of a mask: lengths of runs, row by row, in a box; the first run is background."""
    runs = [whole_number(value.strip()) for value in (shape.get("rle") or "").split(",")]
    box = [whole_number(shape.get(key)) for key in ("left", "top", "width", "height")]
    if any(value is None or value < 0 for value in (*runs, *box)):
        return malformed(f"{place}: its rle or its box is not whole numbers")
    lengths = [value for value in runs if value is not None]
    left, top, mask_width, mask_height = (value for value in box if value is not None)
    if mask_width * mask_height > _MAX_PIXELS:
        place = f"{place}: its box of {mask_width} x {mask_height} has too many pixels to fill"
        return LabeledObject(name, place=place, lost=Defect.MALFORMED_OBJECT)
    if sum(lengths) != mask_width * mask_height or left + mask_width > width or top + mask_height > height:
        return LabeledObject(name, place=f"{place}: its runs do not fill its box", lost=Defect.MALFORMED_OBJECT)
    pixels = np.repeat(np.arange(len(lengths)) % 2 == 1, lengths).reshape(mask_height, mask_width)
    return LabeledObject(name, segmentation=encode_crop(pixels, top, left, height, width), place=place)
