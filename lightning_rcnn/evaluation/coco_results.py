"""Detections in the results format of COCO, which every evaluation tool reads (cocodataset.org/#format-results)."""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from lightning_rcnn.evaluation.coco_entries import as_xywh
from lightning_rcnn.masks.paste import PasteRule, paste_as_run_lengths
from lightning_rcnn.structures import Detections, ImageRecord

NAMES_FILE = "images.json"
"""Written beside results."""


def coco_results(
    detections: Detections, slot: int, record: ImageRecord, category_ids: Sequence[int], mask_paste: PasteRule
) -> list[dict[str, Any]]:
    """Entries of one image of a batch, with `segmentation` (RLE) beside `bbox` where there are masks.

    Args:
        detections: in the original frame.
        slot: of the image.
        record: of the image.
        category_ids: of labels 1..K.
        mask_paste: how masks come into the image; see `masks/paste.py`.
    """
    found = detections.labels[slot] > 0
    boxes = detections.boxes[slot, found].float()
    labels, scores = detections.labels[slot, found].tolist(), detections.scores[slot, found].tolist()
    entries = [
        {
            "image_id": record.image_id,
            "category_id": category_ids[label - 1],
            "bbox": [round(value, 3) for value in as_xywh(box)],
            "score": round(score, 6),
        }
        for box, label, score in zip(boxes.tolist(), labels, scores, strict=True)
    ]
    if detections.masks is None:
        return entries
    masks = paste_as_run_lengths(detections.masks[slot, found], boxes, record.height, record.width, mask_paste)
    return [{**entry, "segmentation": rle} for entry, rle in zip(entries, masks, strict=True)]


def names_behind_ids(
    records: Iterable[ImageRecord], category_ids: Sequence[int], class_names: Sequence[str]
) -> dict[str, list[dict[str, Any]]]:
    """Content of `images.json`, which names the images and classes behind the ids in results, as COCO's files do."""
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
    """Write a file that appears only when whole; its folder is made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial")
    partial.write_text(json.dumps(content) + "\n")
    partial.replace(path)
