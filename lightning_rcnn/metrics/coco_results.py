"""Detections in the results format of COCO, which every evaluation tool reads (cocodataset.org/#format-results)."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch import Tensor


def coco_results(
    image_id: int, boxes: Tensor, labels: Tensor, scores: Tensor, category_ids: Sequence[int]
) -> list[dict[str, Any]]:
    """Entries of one image.

    Args:
        image_id: of the data set.
        boxes: float [D, 4], xyxy in the original frame; in the format they are x, y, width, height.
        labels: int [D], 1..K; others stand for padding and are left out.
        scores: float [D].
        category_ids: of labels 1..K.
    """
    return [
        {
            "image_id": image_id,
            "category_id": category_ids[label - 1],
            "bbox": [round(value, 3) for value in (x1, y1, x2 - x1, y2 - y1)],
            "score": round(score, 6),
        }
        for (x1, y1, x2, y2), label, score in zip(boxes.tolist(), labels.tolist(), scores.tolist(), strict=True)
        if label > 0
    ]


def write_json(path: Path, content: Any) -> None:
    """Write a file that appears only when whole; its folder is made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial")
    partial.write_text(json.dumps(content) + "\n")
    partial.replace(path)
