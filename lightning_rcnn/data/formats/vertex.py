"""Read Google Vertex AI's JSON Lines: boxes as shares of the image's size.

Source: https://cloud.google.com/vertex-ai/docs/image-data/object-detection/prepare-data
"""

from typing import Any

from lightning_rcnn.data.formats.annotation_files import ImageNames
from lightning_rcnn.data.formats.coco.scalars import listed
from lightning_rcnn.data.formats.image_lines import Content, files_of, read_image_lines
from lightning_rcnn.data.formats.labeled import LabeledData, LabeledImage, LabeledObject, Labels
from lightning_rcnn.data.formats.layout import Layout
from lightning_rcnn.data.formats.shapes import box_from_corners, class_name_of, malformed

_IMAGE, _BOXES = "imageGcsUri", "boundingBoxAnnotations"


def vertex_files(layout: Layout) -> list[str]:
    """Return the files in Vertex AI's form for object detection."""
    return files_of(layout, (".jsonl", ".ndjson"), lambda content: {_IMAGE, _BOXES} <= content.keys())


def read_vertex(layout: Layout) -> LabeledData:
    """List a data set in Vertex AI's form.

    Raises:
        InputError: there is none, or a line is malformed.
    """
    return read_image_lines(layout, vertex_files(layout), _read_image, _split_in)


def _split_in(content: Content) -> str:
    labels = content.get("dataItemResourceLabels")
    values = labels.items() if isinstance(labels, dict) else ()
    return next((str(value) for key, value in values if str(key).endswith("ml_use")), "")


def _read_image(names: ImageNames, content: Content) -> LabeledImage | None:
    if _BOXES not in content:
        return None
    numbered = enumerate(listed(content[_BOXES]), start=1)
    objects = [_read_box(each, f"annotation {index}") for index, each in numbered]
    return LabeledImage(names.find(str(content.get(_IMAGE) or "")), Labels(objects))


def _read_box(each: Any, place: str) -> LabeledObject:
    if not isinstance(each, dict):
        return malformed(f"{place}: not an object")
    name, keys = class_name_of(each.get("displayName")), ("xMin", "yMin", "xMax", "yMax")
    return box_from_corners(name, map(each.get, keys), place)._replace(is_relative=True)
