"""Objects and detections in COCO's form: just what the figures of one result type need, masks as RLE."""

from collections.abc import Mapping, Sequence
from typing import Any

from lightning_rcnn.evaluation.scoring import ResultType
from lightning_rcnn.masks.paste import PasteRule, paste_as_run_lengths
from lightning_rcnn.masks.run_length import RunLength, encode_polygons
from lightning_rcnn.masks.segmentation import area_of, as_run_length
from lightning_rcnn.structures import Detections, FoundObjects, ImageRecord

KEYS: dict[ResultType, str] = {"bbox": "bbox", "segm": "segmentation", "keypoints": "keypoints"}
"""Key of what is scored in an annotation or result."""


def annotations_of(record: ImageRecord) -> list[dict[str, Any]]:
    """Packed annotations (see `data/index.Annotation`) with the keys and boxes of COCO."""
    return [
        {**annotation, "category_id": annotation["label"], "bbox": as_xywh(annotation["bbox"])}
        for annotation in record.annotations
    ]


def results_of(
    detections: Detections, slot: int, record: ImageRecord, result_type: ResultType, mask_paste: PasteRule
) -> list[dict[str, Any]]:
    """Results of one image of a batch; masks become RLE one by one.

    Raises:
        ValueError: masks are wanted, and the detections have none.
    """
    found = detections.labels[slot] > 0
    boxes = detections.boxes[slot, found].float()
    scores, labels = detections.scores[slot, found].tolist(), detections.labels[slot, found].tolist()
    key = "bbox"
    places: Sequence[Any] = list(map(as_xywh, boxes.tolist()))
    if result_type == "keypoints":
        if detections.keypoints is None:
            raise ValueError("the detections have no keypoints to score")
        points = detections.keypoints[slot, found].float().flatten(1).tolist()
        return [
            {"category_id": label, "score": score, "bbox": box, "keypoints": own}
            for label, score, box, own in zip(labels, scores, places, points, strict=True)
        ]
    elif result_type == "segm":
        if detections.masks is None:
            raise ValueError("the detections have no masks to score")
        masks = detections.masks[slot, found]
        key = "segmentation"
        places = paste_as_run_lengths(masks, boxes, record.height, record.width, mask_paste)
    return [
        {"category_id": label, "score": score, key: place}
        for label, score, place in zip(labels, scores, places, strict=True)
    ]


def object_entries(objects: FoundObjects) -> list[dict[str, Any]]:
    """Return objects in COCO's form, with labels as category ids: boxes as x, y, width, height, masks as RLE."""
    entries: list[dict[str, Any]] = [
        {"category_id": label, "bbox": as_xywh(box), "score": score}
        for box, label, score in zip(
            objects.boxes.tolist(), objects.labels.tolist(), objects.scores.tolist(), strict=True
        )
    ]
    if objects.keypoints is not None:
        points = objects.keypoints.flatten(1).tolist()
        entries = [{**entry, "keypoints": own} for entry, own in zip(entries, points, strict=True)]
    if objects.masks is None:
        return entries
    return [{**entry, "segmentation": mask} for entry, mask in zip(entries, objects.masks, strict=True)]


def as_object(annotation: Mapping[str, Any], height: int, width: int, result_type: ResultType) -> dict[str, Any]:
    """What the evaluation needs of an annotation; one without a mask is ignored where masks are scored.

    Keypoints are scored with the box; COCO ignores an object of which none is labeled.
    """
    entry = {key: annotation[key] for key in ("category_id", "iscrowd", "difficult") if key in annotation}
    box = annotation.get("bbox")
    mask = mask_of(annotation, height, width) if result_type == "segm" else None
    box_area = box[2] * box[3] if box is not None else 0.0
    entry["area"] = area_of(annotation.get("area"), mask, height, width, box_area)
    if result_type == "bbox":
        return {**entry, "bbox": box}
    if result_type == "keypoints":
        stated = {key: annotation[key] for key in ("num_keypoints",) if key in annotation}
        return {**entry, **stated, "bbox": box, "keypoints": list(annotation.get("keypoints") or [])}
    if mask is not None:
        return {**entry, "segmentation": mask}
    return {**entry, "segmentation": _filled_box(annotation["bbox"], height, width), "difficult": 1}


def mask_of(annotation: Mapping[str, Any], height: int, width: int) -> RunLength | None:
    """The mask of an object in an image of this size; None if it has none."""
    segmentation = annotation.get("segmentation")
    return as_run_length(segmentation, height, width) if segmentation else None


def as_result(result: Mapping[str, Any], result_type: ResultType) -> dict[str, Any]:
    """What the evaluation needs of a result; what is not scored is left out.

    Keypoints keep their box: the COCO API takes its area for the size of a detection, if there is one.
    """
    entry = {name: result[name] for name in ("category_id", "score", KEYS[result_type])}
    return {**entry, "bbox": result["bbox"]} if result_type == "keypoints" and "bbox" in result else entry


def as_xywh(box: list[float]) -> list[float]:
    """A box as COCO has it: x, y, width, height."""
    x1, y1, x2, y2 = box
    return [x1, y1, x2 - x1, y2 - y1]


def _filled_box(box: list[float], height: int, width: int) -> RunLength:
    left, top, right, bottom = box[0], box[1], box[0] + box[2], box[1] + box[3]
    return encode_polygons([[left, top, right, top, right, bottom, left, bottom]], height, width)
