"""Read the XML of the first LabelMe, of MIT, which CVAT exports as "LabelMe 3.0": a file for each image, with polygons.

    Annotations/street/a.xml   Images/street/a.jpg

Source: https://github.com/CSAILVision/LabelMeAnnotationTool
"""

import posixpath
import re
import xml.etree.ElementTree as ElementTree
from collections import defaultdict
from functools import partial
from html import unescape
from pathlib import PurePosixPath

from lightning_rcnn.data.defects import Defect, DefectLog, Finding
from lightning_rcnn.data.formats.annotation_files import ImageNames
from lightning_rcnn.data.formats.coco.scalars import number
from lightning_rcnn.data.formats.coco.sizes import stated_size
from lightning_rcnn.data.formats.labeled import (
    LabeledData,
    LabeledImage,
    LabeledObject,
    LabeledSplit,
    Labels,
    LabelsError,
)
from lightning_rcnn.data.formats.layout import Layout
from lightning_rcnn.data.formats.pairing import nearest_images
from lightning_rcnn.data.formats.shapes import class_name_of, edges_around, malformed, polygon_object, rotated
from lightning_rcnn.data.formats.splits import in_order, split_of_folder
from lightning_rcnn.data.formats.xml_files import MalformedXmlError, parse_xml
from lightning_rcnn.errors import InputError
from lightning_rcnn.plural import plural

_ROTATION = re.compile(r"\brotation=([^,\s]+)")
"""The angle of a box among its attributes, as CVAT writes it."""


def is_labelme_xml(layout: Layout, file: str) -> bool:
    """Return whether an XML file is of the first LabelMe; Pascal VOC's begin alike."""
    head = layout.head(file)
    return bool(re.search(r"<annotation[\s>]", head) and re.search(r"<imagesize>|<pt>", head))


def read_labelme_xml(layout: Layout) -> LabeledData:
    """List a data set of the first LabelMe.

    Raises:
        InputError: there is none.
    """
    by_name: defaultdict[str, list[str]] = defaultdict(list)
    for image in layout.images:
        by_name[posixpath.basename(image)].append(image)
    by_split: defaultdict[str, list[LabeledImage]] = defaultdict(list)
    for file in layout.with_suffix(".xml"):
        if is_labelme_xml(layout, file):
            written = _image_name(layout, file)
            nearest = nearest_images(PurePosixPath(file), by_name.get(posixpath.basename(written), []))
            name = nearest[0] if len(nearest) == 1 else ImageNames(layout, file).find(written)
            by_split[split_of_folder(file)].append(LabeledImage(name, partial(_read_labels, layout, file), file))
    if not by_split:
        raise InputError(f"{layout.path}: no XML file of LabelMe, with `imagesize` and polygons of `pt`")
    if len(by_split) > 1 and "" in by_split:
        by_split["other"] = by_split.pop("")
    total = sum(map(len, by_split.values()))
    splits = [LabeledSplit(name, layout.root, by_split[name], DefectLog(), True) for name in in_order(by_split)]
    return LabeledData(plural(total, "XML file"), splits)


def _image_name(layout: Layout, file: str) -> str:
    match = re.search(r"<filename>\s*([^<]*?)\s*</filename>", layout.head(file))
    return unescape(match[1]) if match and match[1] else f"{posixpath.splitext(posixpath.basename(file))[0]}.jpg"


def _read_labels(layout: Layout, file: str) -> Labels:
    try:
        root = parse_xml(layout.root / file)
    except MalformedXmlError as error:
        raise LabelsError(f"{file}: malformed XML: {error}") from error
    objects, findings = [], []
    for index, element in enumerate(root.findall("object"), start=1):
        place = f"object {index}"
        if (element.findtext("deleted") or "").strip() == "1":
            findings.append(Finding(Defect.NO_CLASS, f"{file}, {place}: deleted"))
        else:
            objects.append(_read_object(element, place))
    width, height = (root.findtext(f"imagesize/{key}") for key in ("ncols", "nrows"))
    return Labels(objects, stated_size(width, height), findings)


def _read_object(element: ElementTree.Element, place: str) -> LabeledObject:
    name = class_name_of((element.findtext("name") or "").strip())
    values = [number((point.findtext(axis) or "").strip()) for point in element.iterfind("polygon/pt") for axis in "xy"]
    points = [value for value in values if value is not None]
    if not points or len(points) < len(values):
        return malformed(f"{place}: no polygon of points")
    if (element.findtext("type") or "").strip() == "bounding_box":
        stated = _ROTATION.search(element.findtext("attributes") or "")
        degrees = number(stated[1]) if stated else None
        return rotated(LabeledObject(name, edges_around(points), place=place), degrees or 0.0)
    return polygon_object(name, points, place)
