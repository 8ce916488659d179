"""Read BDD100K's and Scalabel's JSON: a list of images with boxes, polygons or RLEs.

Boxes include their last pixel, as Scalabel counts (`box2d_to_bbox`). Labels without a box in a file whose labels have
boxes are lanes and drivable areas, which are no objects.

Source: https://doc.bdd100k.com/format.html, https://doc.scalabel.ai/format.html and
https://github.com/scalabel/scalabel/blob/master/scalabel/label/transforms.py
"""

from collections.abc import Mapping, Sequence
from typing import Any

from lightning_rcnn.data.defects import Defect, Finding
from lightning_rcnn.data.formats.annotation_files import ImageNames, splits_of_files
from lightning_rcnn.data.formats.coco.other_formats import frames_of
from lightning_rcnn.data.formats.coco.scalars import flag, listed
from lightning_rcnn.data.formats.coco.segmentations import read_segmentation
from lightning_rcnn.data.formats.coco.sizes import stated_size
from lightning_rcnn.data.formats.labeled import LabeledData, LabeledImage, LabeledObject, Labels
from lightning_rcnn.data.formats.layout import Layout, read_json
from lightning_rcnn.data.formats.shapes import box_from_corners, class_name_of, malformed, points_of, unsupported
from lightning_rcnn.errors import InputError


def read_bdd100k(layout: Layout) -> LabeledData:
    """List a data set in BDD100K's form.

    Raises:
        InputError: there is none.
    """
    files = [file for file in layout.with_suffix(".json") if layout.json_kind(file) == "bdd100k"]
    if not files:
        raise InputError(f"{layout.path}: no JSON file of BDD100K, a list of images with `name` and `labels`")
    images = {file: _read_file(layout, file) for file in files}
    return LabeledData(", ".join(files), splits_of_files(layout, images))


def _read_file(layout: Layout, file: str) -> list[LabeledImage]:
    content = read_json(layout.root / file)
    config = content.get("config") if isinstance(content, dict) else None
    size = _size(config.get("imageSize") if isinstance(config, dict) else None)
    frames = frames_of(content)
    has_boxes = any(isinstance(label, dict) and label.get("box2d") for frame in frames for label in _labels(frame))
    names = ImageNames(layout, file)
    images = []
    for frame in frames:
        labels = list(enumerate(_labels(frame), start=1))
        areas = [index for index, label in labels if has_boxes and _is_area(label)]
        objects = [_read_label(label, f"label {index}") for index, label in labels if index not in areas]
        findings = [Finding(Defect.NO_CLASS, f"{frame['name']}, label {index}") for index in areas]
        parts = [str(frame.get("videoName") or ""), str(frame["name"])]
        written = names.find("/".join(filter(None, parts)))
        name = written if written in layout.image_set else names.find(parts[1])
        images.append(LabeledImage(name, Labels(objects, _size(frame.get("size")) or size, findings), file))
    return images


def _labels(frame: Mapping[str, Any]) -> Sequence[Any]:
    return listed(frame.get("labels"))


def _is_area(label: Any) -> bool:
    return isinstance(label, dict) and not label.get("box2d") and bool(label.get("poly2d"))


def _size(stated: Any) -> tuple[int, int] | None:
    if not isinstance(stated, dict):
        return None
    return stated_size(stated.get("width"), stated.get("height"))


def _read_label(label: Any, place: str) -> LabeledObject:
    if not isinstance(label, dict):
        return malformed(f"{place}: not an object")
    name, box, polygons = class_name_of(label.get("category")), label.get("box2d"), label.get("poly2d")
    attributes = label.get("attributes")
    iscrowd = int(flag(attributes.get("crowd")) if isinstance(attributes, dict) else False)
    edges = None
    if isinstance(box, dict):
        boxed = box_from_corners(name, map(box.get, ("x1", "y1", "x2", "y2")), place)
        if boxed.edges is None:
            return boxed
        x1, y1, x2, y2 = boxed.edges
        edges = x1, y1, x2 + 1, y2 + 1
    segmentation = read_segmentation(label.get("rle"))
    if isinstance(polygons, list) and polygons:
        closed = [each for each in polygons if isinstance(each, dict) and each.get("closed", True)]
        outlines = [points_of(each.get("vertices")) for each in closed]
        has_curves = any("C" in str(each.get("types") or "") for each in closed)
        if edges is None and (has_curves or None in outlines or not outlines):
            return unsupported("line or curve", place)
        segmentation = None if has_curves or None in outlines else outlines
    if edges is None and segmentation is None:
        return unsupported("nothing with an area", place)
    return LabeledObject(name, edges, segmentation or None, iscrowd=iscrowd, place=place)
