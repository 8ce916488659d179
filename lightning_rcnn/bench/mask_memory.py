"""Memory for scoring, writing and drawing the masks of one large image."""

from pathlib import Path
from typing import Any

import torch

from lightning_rcnn.bench.memory import peak_of_process
from lightning_rcnn.evaluation.coco_ap import CocoAveragePrecision
from lightning_rcnn.evaluation.coco_results import coco_results
from lightning_rcnn.masks.paste import PasteRule
from lightning_rcnn.structures import Detections, ImageRecord
from lightning_rcnn.visualization import Objects, draw_objects, save_image


def measure_peaks(rule: PasteRule, num_detections: int, height: int, width: int, image: Path | None) -> dict[str, int]:
    """Score detections as validation does, then draw them as `detect` does.

    Args:
        rule: rule of pasting, see `masks/paste.py`.
        num_detections: number of detections, each with an annotation of the same box.
        height, width: size of the image in pixels.
        image: file of the drawn image; None draws nothing.

    Returns:
        Highest resident memory of the process after each step, in bytes, by the name of the step.
    """
    peaks = {"imports": peak_of_process()}
    detections = _detections(num_detections, height, width)
    record = ImageRecord(1, "large.png", height, width, [_annotation(box) for box in detections.boxes[0].tolist()])
    metric = CocoAveragePrecision(["thing"], "segm", mask_paste=rule)
    metric.update(detections, [record])
    metric.compute()
    peaks["scored"] = peak_of_process()
    if image is not None:
        _draw(detections, record, rule, image)
        peaks["drawn"] = peak_of_process()
    return peaks


def _detections(number: int, height: int, width: int) -> Detections:
    """Boxes about the center, one of them the whole image, with masks of ragged outlines, whose RLEs are long."""
    size = torch.tensor([width, height])
    corners = torch.rand(number, 2) * size * 0.2
    boxes = torch.cat([corners, size - corners.flip(0)], dim=1)
    boxes[0] = torch.tensor([0, 0, width, height])
    masks = torch.rand(1, number, 7, 7).repeat_interleave(4, 2).repeat_interleave(4, 3)
    labels, scores = torch.ones(1, number, dtype=torch.int64), torch.linspace(1, 0.1, number)[None]
    return Detections(boxes[None], scores, labels, masks)


def _annotation(box: list[float]) -> dict[str, Any]:
    x1, y1, x2, y2 = box
    outline = [x1, y1, x2, y1, x2, y2, x1, y2]
    return {"bbox": box, "label": 1, "iscrowd": 0, "difficult": 0, "area": 1e6, "segmentation": [outline]}


def _draw(detections: Detections, record: ImageRecord, rule: PasteRule, path: Path) -> None:
    entries = coco_results(detections, 0, record, [1], rule)
    boxes, scores, labels = (values[0] for values in detections[:3])
    objects = Objects(boxes, labels, scores, masks=[entry["segmentation"] for entry in entries])
    pixels = torch.zeros(3, record.height, record.width, dtype=torch.uint8)
    save_image(draw_objects(pixels, objects, ["thing"]), path)
