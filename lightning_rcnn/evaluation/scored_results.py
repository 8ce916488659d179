"""Results in COCO's JSON format, checked: detections of the images that are annotated."""

from collections.abc import Mapping
from math import isfinite
from pathlib import Path
from typing import Any, NamedTuple

from lightning_rcnn.data.formats.coco.boxes import Box, read_box
from lightning_rcnn.data.formats.coco.json_files import load_json
from lightning_rcnn.data.formats.coco.keypoints import Keypoints
from lightning_rcnn.data.formats.coco.other_formats import recognize_content
from lightning_rcnn.data.formats.coco.scalars import number, numbers
from lightning_rcnn.data.formats.coco.segmentations import read_segmentation
from lightning_rcnn.errors import InputError
from lightning_rcnn.evaluation.coco_entries import KEYS
from lightning_rcnn.evaluation.result_ids import ResultIds
from lightning_rcnn.evaluation.scoring import ResultType


class ScoredResult(NamedTuple):
    """A detection of an annotated image; `segmentation` is the RLE of the file, `keypoints` x, y, score in turn."""

    place: str
    image_id: int
    label: int
    score: float
    box: Box | None
    segmentation: Any
    keypoints: Keypoints


def load_results(path: Path) -> list[Mapping[str, Any]]:
    """Return the entries of a results file.

    Raises:
        InputError: no such file, or JSON of another kind.
    """
    content = load_json(path)
    if not isinstance(content, list):
        raise InputError(f"{path}: not COCO results: a list of detections is wanted, this is {_kind(content)}")
    for position, entry in enumerate(content):
        if not isinstance(entry, dict):
            raise InputError(
                f"{path}: result {position} is {_kind(entry)}, not an object with image_id and category_id"
            )
    other = recognize_content(content)
    if other is not None and content and "image_id" not in content[0]:
        raise InputError(f"{path}: not COCO results, this is {other.name}; {other.way_out}")
    return content


def read_results(
    entries: list[Mapping[str, Any]], path: Path, ids: ResultIds, result_type: ResultType, num_keypoints: int
) -> list[ScoredResult]:
    """Read the entries of a results file.

    Args:
        entries: entries.
        path: path of the file, for messages.
        ids: their ids in the annotations.
        result_type: whether boxes, masks or keypoints are scored.
        num_keypoints: number of keypoints of an object.

    Returns:
        The detections of annotated images and classes, as they are written.

    Raises:
        InputError: an entry names an unknown image or category, or is incomplete.
    """
    detections = []
    for position, entry in enumerate(entries):
        place = f"{path}: result {position}"
        image_id, label = _image_of(entry, ids, place), _label_of(entry, ids, place)
        if image_id is None or label is None:
            continue
        score = number(entry.get("score"))
        if score is None or not isfinite(score):
            raise InputError(f"{place}: score {entry.get('score')!r} is not a number")
        key = KEYS[result_type]
        if key not in entry:
            other = next((f"; try --type {kind}" for kind, name in KEYS.items() if name in entry), "")
            raise InputError(f"{place} has no {key}, which type {result_type} needs{other}")
        box = read_box(entry.get("bbox"))
        if result_type == "bbox" and (box is None or not all(map(isfinite, box))):
            raise InputError(f"{place}: bbox {entry.get('bbox')!r} is not four numbers x, y, width, height")
        segmentation = read_segmentation(entry.get("segmentation")) if result_type == "segm" else None
        points = _points_of(entry, num_keypoints, place) if result_type == "keypoints" else []
        detections.append(ScoredResult(place, image_id, label, score, box, segmentation, points))
    return detections


def _points_of(entry: Mapping[str, Any], num_keypoints: int, place: str) -> Keypoints:
    """Return the keypoints of a result as written."""
    values = numbers(entry["keypoints"])
    if values is None or len(values) != 3 * num_keypoints or not all(map(isfinite, values)):
        raise InputError(
            f"{place}: keypoints are not {3 * num_keypoints} numbers, x, y and score of each of the annotations' "
            f"{num_keypoints} keypoints"
        )
    return values


def _image_of(entry: Mapping[str, Any], ids: ResultIds, place: str) -> int | None:
    """Return the annotated image of a result; None if `images.json` names one that is not annotated."""
    image_id = ids.image_table.find(entry.get("image_id"))
    if image_id is None:
        raise InputError(
            f"{place}: image_id {entry.get('image_id')!r} is none of the {len(ids.images)} images of the annotations; "
            "if these are detections in other numbers, put the images.json with their file names beside them"
        )
    return ids.images.get(image_id)


def _label_of(entry: Mapping[str, Any], ids: ResultIds, place: str) -> int | None:
    """Return the label of a result's class; None if `images.json` names one that the annotations lack."""
    category_id = ids.category_table.find(entry.get("category_id"))
    if category_id is None:
        known = f"{len(ids.labels)} categories, ids {min(ids.labels)} to {max(ids.labels)}"
        raise InputError(f"{place}: category_id {entry.get('category_id')!r} is unknown to the annotations ({known})")
    return ids.labels.get(category_id)


def _kind(value: Any) -> str:
    kinds = {dict: "an object", list: "a list", str: "a string", type(None): "null"}
    return kinds.get(type(value), "a number")
