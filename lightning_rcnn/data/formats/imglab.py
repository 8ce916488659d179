"""Read the XML of dlib's imglab: boxes of many images in one file; ignored boxes are groups.

Source: https://github.com/davisking/dlib/tree/master/tools/imglab
"""

import re
import xml.etree.ElementTree as ElementTree

from lightning_rcnn.data.formats.annotation_files import ImageNames, splits_of_files
from lightning_rcnn.data.formats.coco.scalars import flag
from lightning_rcnn.data.formats.coco.sizes import stated_size
from lightning_rcnn.data.formats.labeled import LabeledData, LabeledImage, LabeledObject, Labels
from lightning_rcnn.data.formats.layout import Layout, require_memory
from lightning_rcnn.data.formats.shapes import box_from_sizes, class_name_of
from lightning_rcnn.data.formats.xml_files import MalformedXmlError, parse_xml
from lightning_rcnn.errors import InputError

ONLY_CLASS = "object"


def is_imglab(layout: Layout, file: str) -> bool:
    """Return whether an XML file is of imglab."""
    return bool(re.search(r"<dataset>.*<images>", layout.head(file), re.DOTALL))


def read_imglab(layout: Layout) -> LabeledData:
    """List a data set of imglab's files.

    Raises:
        InputError: there are none, or one does not parse.
    """
    files = [file for file in layout.with_suffix(".xml") if is_imglab(layout, file)]
    if not files:
        raise InputError(f"{layout.path}: no XML file of imglab, with `dataset` and `images`")
    images = {file: _read_file(layout, file) for file in files}
    objects = [each for listed in images.values() for image in listed for each in _objects(image)]
    notes = () if any(each.class_name != ONLY_CLASS for each in objects) else (f"all objects are {ONLY_CLASS}",)
    return LabeledData(", ".join(files), splits_of_files(layout, images), notes=notes)


def _objects(image: LabeledImage) -> list[LabeledObject]:
    return list(image.labels.objects) if isinstance(image.labels, Labels) else []


def _read_file(layout: Layout, file: str) -> list[LabeledImage]:
    path = layout.root / file
    require_memory(path)
    try:
        root = parse_xml(path)
    except MalformedXmlError as error:
        raise InputError(f"{path}: malformed XML: {error}") from error
    names = ImageNames(layout, file)
    images = []
    for image in root.iterfind("images/image"):
        boxes = enumerate(image.findall("box"), start=1)
        objects = [_read_box(box, f"box {index}") for index, box in boxes]
        size = stated_size(image.get("width"), image.get("height")) if image.get("width") else None  # older files
        images.append(LabeledImage(names.find(image.get("file") or ""), Labels(objects, size), file))
    return images


def _read_box(box: ElementTree.Element, place: str) -> LabeledObject:
    name = class_name_of((box.findtext("label") or "").strip()) or ONLY_CLASS
    labeled = box_from_sizes(name, map(box.get, ("left", "top", "width", "height")), place)
    return labeled._replace(iscrowd=int(flag(box.get("ignore"))))
