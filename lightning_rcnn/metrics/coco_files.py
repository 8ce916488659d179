"""Ground truth and results in COCO's JSON format, checked, for the evaluator."""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lightning_rcnn.errors import InputError
from lightning_rcnn.masks.segmentation import area_of, checked_run_length, is_area, usable_run_length
from lightning_rcnn.metrics.coco_matching import ResultType

_KEYS: dict[ResultType, str] = {"bbox": "bbox", "segm": "segmentation"}


@dataclass
class Image:
    """What the evaluator takes of an image: pixels, and entries whose `category_id` is a label 1..K."""

    height: int
    width: int
    annotations: list[dict[str, Any]] = field(default_factory=list)
    results: list[dict[str, Any]] = field(default_factory=list)


@dataclass(frozen=True)
class CocoData:
    """A data set, perhaps with results.

    Attributes:
        class_names: of the labels 1..K, which follow the order of the categories' ids.
        labels: category id -> label.
        images: by id.
    """

    class_names: list[str]
    labels: dict[int, int]
    images: dict[int, Image]


def read_annotations(path: Path, result_type: ResultType) -> CocoData:
    """Read ground truth.

    Args:
        path: JSON with `images`, `annotations` and `categories`.
        result_type: whether annotations need boxes or masks. One without a usable mask (by the rules of `pack`) has no
            `segmentation` here; it needs a box.

    Raises:
        InputError: no such file, not such JSON, or an entry lacks something.
    """
    content = _load(path)
    if not isinstance(content, dict) or not {"images", "annotations", "categories"} <= content.keys():
        raise InputError(f"{path}: not COCO annotations: no object with images, annotations and categories")
    try:
        categories = sorted((category["id"], str(category["name"])) for category in content["categories"])
        images = {image["id"]: Image(image["height"], image["width"]) for image in content["images"]}
    except (KeyError, TypeError) as error:
        raise InputError(f"{path}: an image lacks id, height or width, or a category id or name ({error})") from error
    names = [name for _, name in categories]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise InputError(f"{path}: two categories are called {twice!r}; give them different names")
    data = CocoData(names, {category: label for label, (category, _) in enumerate(categories, start=1)}, images)
    for number, entry in enumerate(content["annotations"]):
        place = f"{path}: annotation {number}"
        image, label = _place(entry, data, place)
        image.annotations.append({"category_id": label, **_checked(entry, image, place, result_type)})
    return data


def read_results(path: Path, data: CocoData, result_type: ResultType) -> None:
    """Read results into the images of `data`.

    Args:
        path: JSON list of `image_id`, `category_id`, `score`, and `bbox` (x, y, width, height) or `segmentation` (RLE).
        data: as `read_annotations` gives it.
        result_type: which of the two counts; the other is left out.

    Raises:
        InputError: no such file, not such a list, an unknown image or category, or an entry lacks something.
    """
    content = _load(path)
    if not isinstance(content, list):
        raise InputError(f"{path}: not COCO results: a list of detections is wanted, this is {_kind(content)}")
    key = _KEYS[result_type]
    for number, entry in enumerate(content):
        place = f"{path}: result {number}"
        image, label = _place(entry, data, place)
        if key not in entry:
            other = next((f"; try --type {kind}" for kind, name in _KEYS.items() if name in entry), "")
            raise InputError(f"{place} has no {key}, which type {result_type} needs{other}")
        if not _is_number(entry.get("score")):
            raise InputError(f"{place}: score {entry.get('score')!r} is not a number")
        problem = _box_problem(entry[key]) if result_type == "bbox" else _mask_problem(entry[key], image)
        if problem:
            raise InputError(f"{place}: {key} {problem}")
        image.results.append({"category_id": label, "score": entry["score"], key: entry[key]})


def _load(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from error
    except ValueError as error:
        raise InputError(f"{path}: not JSON ({error})") from error


def _place(entry: Any, data: CocoData, place: str) -> tuple[Image, int]:
    """Image and label of an annotation or a result."""
    if not isinstance(entry, Mapping):
        raise InputError(f"{place} is {_kind(entry)}, not an object with image_id and category_id")
    image_id, category_id = entry.get("image_id"), entry.get("category_id")
    if not isinstance(image_id, int) or image_id not in data.images:
        raise InputError(f"{place}: image_id {image_id!r} is none of the {len(data.images)} images of the annotations")
    if not isinstance(category_id, int) or category_id not in data.labels:
        known = (
            f"{len(data.labels)} categories, ids {min(data.labels)} to {max(data.labels)}" if data.labels else "none"
        )
        raise InputError(f"{place}: category_id {category_id!r} is unknown to the annotations ({known})")
    return data.images[image_id], data.labels[category_id]


def _checked(entry: Mapping[str, Any], image: Image, place: str, result_type: ResultType) -> dict[str, Any]:
    """What an annotation says beside its category; with masks, a box only in the place of one."""
    segmentation = None
    if result_type == "segm" or not is_area(entry.get("area")):
        # As for `pack`, but that box and mask need not agree: the COCO API does not ask for that.
        segmentation = usable_run_length(entry.get("segmentation"), image.height, image.width)
    # Converters of VOC's files write its difficult objects under either name.
    is_difficult = entry.get("difficult") == 1 or entry.get("ignore") == 1
    checked: dict[str, Any] = {"iscrowd": entry.get("iscrowd", 0), "difficult": int(is_difficult)}
    if result_type == "segm" and segmentation is not None:
        checked["segmentation"] = segmentation
    elif "bbox" not in entry:
        lacking = "bbox" if result_type == "bbox" else "usable segmentation nor a bbox in its place"
        raise InputError(f"{place} has no {lacking}, which type {result_type} needs")
    elif problem := _box_problem(entry["bbox"]):
        raise InputError(f"{place}: bbox {problem}")
    else:
        checked["bbox"] = entry["bbox"]
    box_area = entry["bbox"][2] * entry["bbox"][3] if "bbox" in checked else 0.0  # else there is a mask
    checked["area"] = area_of(entry.get("area"), segmentation, image.height, image.width, box_area)
    return checked


def _box_problem(box: Any) -> str:
    if isinstance(box, list) and len(box) == 4 and all(map(_is_number, box)):
        return ""
    return f"{box!r} is not four numbers x, y, width, height"


def _mask_problem(mask: Any, image: Image) -> str:
    if not isinstance(mask, Mapping) or not isinstance(mask.get("counts"), str):
        return 'is not a compressed RLE {"size": [height, width], "counts": "..."}'
    if mask.get("size") != [image.height, image.width]:
        return f"is of size {mask.get('size')}, the image is {image.height} x {image.width} (height x width)"
    try:
        checked_run_length(mask["counts"], image.height, image.width)
    except ValueError as error:
        return f"is no RLE ({error})"
    return ""


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _kind(value: Any) -> str:
    kinds = {dict: "an object", list: "a list", str: "a string", type(None): "null"}
    return kinds.get(type(value), "a number")
