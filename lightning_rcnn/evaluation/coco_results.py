"""Detections in the results format of COCO, which every evaluation tool reads (cocodataset.org/#format-results)."""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from lightning_rcnn.data.formats.coco.keypoints import result_keypoints
from lightning_rcnn.evaluation.coco_entries import as_xywh
from lightning_rcnn.files import atomic_write
from lightning_rcnn.masks.paste import PasteRule, paste_as_run_lengths
from lightning_rcnn.structures import Detections, ImageRecord

NAMES_FILE = "images.json"
"""File beside the results that names images and classes."""


def coco_results(
    detections: Detections, slot: int, record: ImageRecord, category_ids: Sequence[int], mask_paste: PasteRule
) -> list[dict[str, Any]]:
    """Return the results of one image of a batch, with a `segmentation` (RLE) and `keypoints` where there are some.

    Args:
        detections: detections of the batch, boxes in the original frame.
        slot: index of the image in the batch.
        record: record of the image.
        category_ids: COCO category ids of labels 1..K.
        mask_paste: rule that pastes masks into the image; see `masks/paste.py`.
    """
    is_detection = detections.labels[slot] > 0
    boxes = detections.boxes[slot, is_detection].float()
    labels, scores = detections.labels[slot, is_detection].tolist(), detections.scores[slot, is_detection].tolist()
    entries = [
        {
            "image_id": record.image_id,
            "category_id": category_ids[label - 1],
            "bbox": [round(value, 3) for value in as_xywh(box)],
            "score": round(score, 6),
        }
        for box, label, score in zip(boxes.tolist(), labels, scores, strict=True)
    ]
    if detections.keypoints is not None:
        points = detections.keypoints[slot, is_detection].float().tolist()
        entries = [{**entry, "keypoints": result_keypoints(own)} for entry, own in zip(entries, points, strict=True)]
    if detections.masks is None:
        return entries
    masks = paste_as_run_lengths(detections.masks[slot, is_detection], boxes, record.height, record.width, mask_paste)
    return [{**entry, "segmentation": rle} for entry, rle in zip(entries, masks, strict=True)]


def names_behind_ids(
    records: Iterable[ImageRecord], category_ids: Sequence[int], class_names: Sequence[str]
) -> dict[str, list[dict[str, Any]]]:
    """Return the content of `images.json`: names of images and classes by id, as in COCO's files."""
    return {
        "images": [
            {"id": record.image_id, "file_name": record.file_name, "width": record.width, "height": record.height}
            for record in records
        ],
        "categories": [
            {"id": category_id, "name": name} for category_id, name in zip(category_ids, class_names, strict=True)
        ],
    }


def write_json(path: Path, content: Any) -> None:
    """Write JSON to a file that appears only when it is whole; its folder is created."""
    with atomic_write(path) as file:
        file.write((json.dumps(content) + "\n").encode())
