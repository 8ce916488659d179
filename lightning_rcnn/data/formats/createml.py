"""Read Create ML's JSON: a list of images with boxes given by their centers.

Source: https://developer.apple.com/documentation/createml/building-an-object-detector-data-source
"""

from typing import Any

from lightning_rcnn.data.formats.annotation_files import ImageNames, splits_of_files
from lightning_rcnn.data.formats.coco.relative import are_relative
from lightning_rcnn.data.formats.coco.scalars import number
from lightning_rcnn.data.formats.labeled import LabeledData, LabeledImage, LabeledObject, Labels
from lightning_rcnn.data.formats.layout import Layout, read_json
from lightning_rcnn.data.formats.shapes import class_name_of, malformed
from lightning_rcnn.errors import InputError


def read_createml(layout: Layout) -> LabeledData:
    """List a data set of Create ML's files.

    Raises:
        InputError: there are none.
    """
    files = [file for file in layout.with_suffix(".json") if layout.json_kind(file) == "createml"]
    if not files:
        raise InputError(f"{layout.path}: no JSON file of Create ML, a list of images with annotations")
    images = {file: _read_file(layout, file) for file in files}
    return LabeledData(", ".join(files), splits_of_files(layout, images))


def _read_file(layout: Layout, file: str) -> list[LabeledImage]:
    names = ImageNames(layout, file)
    objects: dict[str, list[LabeledObject]] = {}
    for entry in read_json(layout.root / file):
        if not isinstance(entry, dict):
            continue
        image = entry.get("image") or entry.get("imagefilename")
        listed = entry.get("annotations") or entry.get("annotation") or []
        if isinstance(image, str) and isinstance(listed, list):
            read = [_read_object(annotation, f"annotation {position}") for position, annotation in enumerate(listed, 1)]
            objects.setdefault(image, []).extend(read)
    edges = [labeled.edges for listed in objects.values() for labeled in listed if labeled.edges is not None]
    is_relative = are_relative(edges)
    return [
        LabeledImage(names.find(image), Labels([each._replace(is_relative=is_relative) for each in listed]), file)
        for image, listed in objects.items()
    ]


def _read_object(annotation: Any, place: str) -> LabeledObject:
    coordinates = annotation.get("coordinates") if isinstance(annotation, dict) else None
    if not isinstance(coordinates, dict):
        return malformed(f"{place}: no coordinates")
    values = [number(coordinates.get(key)) for key in ("x", "y", "width", "height")]
    if any(value is None for value in values):
        return malformed(f"{place}: not four numbers")
    x, y, width, height = (value for value in values if value is not None)
    edges = (x - width / 2, y - height / 2, x + width / 2, y + height / 2)
    return LabeledObject(class_name_of(annotation.get("label")), edges, place=place)
