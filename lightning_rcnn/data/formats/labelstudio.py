"""Read Label Studio's JSON and JSON-MIN: rectangles, polygons, ellipses and brushes in percent of the image's size.

Source: https://labelstud.io/guide/export and https://labelstud.io/guide/task_format
"""

import base64
import re
from collections.abc import Mapping
from functools import partial
from typing import Any

from lightning_rcnn.data.defects import Defect, Finding
from lightning_rcnn.data.formats.annotation_files import ImageNames, splits_of_files
from lightning_rcnn.data.formats.coco.scalars import number
from lightning_rcnn.data.formats.coco.sizes import stated_size
from lightning_rcnn.data.formats.labeled import LabeledData, LabeledImage, LabeledObject, Labels
from lightning_rcnn.data.formats.labelstudio_brush import decode_brush
from lightning_rcnn.data.formats.layout import Layout, read_json
from lightning_rcnn.data.formats.shapes import (
    box_object,
    class_name_of,
    ellipse_object,
    malformed,
    points_of,
    polygon_object,
    rotated,
    unsupported,
)
from lightning_rcnn.data.image_formats import IMAGE_SUFFIXES
from lightning_rcnn.errors import InputError
from lightning_rcnn.masks.run_length import encode_crop

_UPLOAD_PREFIX = re.compile(r"^[0-9a-f]{8}-")
"""Label Studio puts it before the name of an uploaded file."""
_LABELS = re.compile(r"(rectangle|polygon|ellipse|brush|keypoint|bitmask)?labels", re.IGNORECASE)


def read_labelstudio(layout: Layout) -> LabeledData:
    """List a data set of Label Studio's files.

    Raises:
        InputError: there are none.
    """
    files = [file for file in layout.with_suffix(".json") if layout.json_kind(file) == "labelstudio"]
    if not files:
        raise InputError(f"{layout.path}: no JSON file of Label Studio, a list of tasks")
    images: dict[str, list[LabeledImage]] = {}
    num_open = 0
    for file in files:
        names = ImageNames(layout, file)
        images[file] = []
        for task in read_json(layout.root / file):
            labels = _labels_of(task)
            if labels is None:
                num_open += 1
            else:
                images[file].append(_image(layout, names, task, labels, file))
    notes = (f"{num_open} tasks without annotations, left out",) if num_open else ()
    return LabeledData(", ".join(files), splits_of_files(layout, images), notes=notes)


def _labels_of(task: Any) -> Labels | None:
    """Return the labels of a task; None if nobody has annotated it."""
    if not isinstance(task, dict):
        return None
    listed = task.get("annotations") or task.get("completions")
    if listed is None and "data" not in task:
        return Labels(_read_results(_minimal_results(task)))
    tried = listed if isinstance(listed, list) else []
    done = [each for each in tried if isinstance(each, dict) and not each.get("was_cancelled")]
    if not done:
        return None
    chosen = next((each for each in done if each.get("ground_truth")), done[0])
    place = f"task {task.get('id')}"
    findings = [Finding(Defect.SEVERAL_ANNOTATIONS, f"{place}, {len(done)} annotations")] if len(done) > 1 else []
    results = chosen.get("result")
    return Labels(_read_results(results if isinstance(results, list) else []), findings=findings)


def _minimal_results(task: Mapping[str, Any]) -> list[Any]:
    """Return the results of a task in JSON-MIN: the values are those of the results, without their type."""
    values = [value for value in task.values() if isinstance(value, list)]
    shapes = [shape for listed in values for shape in listed if isinstance(shape, dict) and "original_width" in shape]
    return [{"id": str(position), "value": shape, **shape} for position, shape in enumerate(shapes)]


def _image(layout: Layout, names: ImageNames, task: Mapping[str, Any], labels: Labels, file: str) -> LabeledImage:
    data = task.get("data") if isinstance(task.get("data"), dict) else task
    texts = {key: value for key, value in data.items() if isinstance(value, str)} if isinstance(data, dict) else {}
    written = texts.get("image") or next((text for text in texts.values() if _is_image(text)), "")
    if written.startswith("data:image"):
        name = str(task.get("file_upload") or f"task-{task.get('id')}.png")
        return LabeledImage(name, labels, file, partial(base64.b64decode, written.partition(",")[2]))
    last = written.rpartition("/")[2]
    for name in (written, last, _UPLOAD_PREFIX.sub("", last)):
        found = names.find(name) if name else ""
        if found in layout.image_set:
            return LabeledImage(found, labels, file)
    return LabeledImage(written, labels, file)


def _is_image(text: str) -> bool:
    return text.startswith("data:image") or text.lower().partition("?")[0].endswith(tuple(IMAGE_SUFFIXES))


def _read_results(results: list[Any]) -> list[LabeledObject]:
    """Return the objects of an annotation; results of one id are the shape and the label of one object."""
    merged: dict[str, dict[str, Any]] = {}
    for position, result in enumerate(results):
        if not isinstance(result, dict) or not isinstance(result.get("value"), dict) or "original_width" not in result:
            continue  # choices, texts and relations
        before = merged.setdefault(str(result.get("id", f"result {position}")), {**result, "value": {}})
        before["value"] = {**before["value"], **result["value"]}
    return [_read_result(result, f"result {key}") for key, result in merged.items()]


def _read_result(result: Mapping[str, Any], place: str) -> LabeledObject:
    value = result["value"]
    width, height = stated_size(result.get("original_width"), result.get("original_height"))
    names = [
        name for key, listed in value.items() if _LABELS.fullmatch(key) and isinstance(listed, list) for name in listed
    ]
    if min(width, height) < 1 or number(result.get("image_rotation")) not in (None, 0.0) or len(names) > 1:
        return malformed(f"{place}: several labels, no original size, or a rotated image")
    name = class_name_of(names[0]) if names else None
    degrees = number(value.get("rotation")) or 0.0
    if "rle" in value:
        mask = decode_brush(value["rle"], width, height)
        if mask is None:
            return malformed(f"{place}: its brush cannot be read, or has too many pixels ({width} x {height})")
        return LabeledObject(name, segmentation=encode_crop(mask, 0, 0, height, width), place=place)
    if "points" in value:
        points = points_of(value["points"])
        if points is None:
            return malformed(f"{place}: its points are not pairs of numbers")
        sides = (width, height)
        return polygon_object(name, [each * sides[index % 2] / 100 for index, each in enumerate(points)], place)
    keys = ("x", "y", "radiusX", "radiusY") if "radiusX" in value else ("x", "y", "width", "height")
    numbers = [number(value.get(key)) for key in keys]
    if any(each is None for each in numbers):
        return unsupported(result.get("type", "no box"), place)
    x, y, w, h = (
        each * side / 100 for each, side in zip(numbers, (width, height) * 2, strict=True) if each is not None
    )
    if "radiusX" in value:
        return ellipse_object(name, x, y, w, h, degrees, place)
    return rotated(box_object(name, x, y, w, h, place), degrees, pivot=(x, y))
