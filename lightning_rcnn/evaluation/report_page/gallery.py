"""The gallery of a report: small JPEGs of the worst images, and shapes in their frame."""

from collections.abc import Mapping, Sequence
from typing import Any

import cv2
import numpy as np
from pycocotools import mask as coco_mask

from lightning_rcnn.data.pixel_format import PixelFormat
from lightning_rcnn.data.shown_bands import shown_bands
from lightning_rcnn.evaluation.analysis.collecting import WorstImage
from lightning_rcnn.evaluation.analysis.verdicts import Kind
from lightning_rcnn.masks.run_length import RunLength, decode_crop
from lightning_rcnn.pages.pictures import LONGEST_SIDE
from lightning_rcnn.structures import Batch

MOST_SHAPES = 400
"""Number of objects, and of detections, that are drawn per image."""
_LEAST_SCORE = 0.02
_CORNER_TOLERANCE = 0.7


def pixels_of(batch: Batch, slot: int, pixels: PixelFormat) -> np.ndarray:
    """Return what is shown of the image of a slot, without its padding, uint8 RGB [h, w, 3]."""
    height, width = batch.image_sizes[slot].tolist()
    image = shown_bands(batch.images[slot, :, :height, :width].cpu(), pixels)
    return image.permute(1, 2, 0).contiguous().numpy()


def gallery_entry(image: WorstImage) -> dict[str, Any]:
    """Describe an image to the page: name, size and shapes."""
    scale = min(1.0, LONGEST_SIDE / max(image.height, image.width, 1))
    scores, labels, kinds, *_ = image.verdicts.detections
    object_labels, _, is_scored, finders = image.verdicts.objects
    objects: list[dict[str, Any]] = [
        {
            "of": "object",
            "label": int(object_labels[number]),
            "kind": "object" if is_scored[number] else "ignored",
            "score": float(scores[int(finders[number])]) if finders[number] >= 0 else None,
        }
        for number in range(len(image.objects))
    ]
    detections: list[dict[str, Any]] = [
        {
            "of": "detection",
            "label": int(labels[number]),
            "kind": Kind(int(kinds[number])).name.lower(),
            "score": float(scores[number]),
        }
        for number in range(len(image.results))
        if scores[number] >= _LEAST_SCORE
    ]
    shapes = [
        {**one, **_shape(entry, scale)}
        for group, entries in ((objects, image.objects), (detections, image.results))
        for one, entry in zip(group[:MOST_SHAPES], entries, strict=False)
    ]
    left_out = sum(max(0, len(group) - MOST_SHAPES) for group in (objects, detections))
    return {
        "id": image.image_id,
        "name": image.file_name or f"image {image.image_id}",
        "width": round(image.width * scale, 1),
        "height": round(image.height * scale, 1),
        "shapes": shapes,
        "note": f" · {left_out} more not drawn" if left_out else "",
    }


def _shape(entry: Mapping[str, Any], scale: float) -> dict[str, Any]:
    """Return the box, and the outline of the mask if there is one."""
    if "segmentation" not in entry:
        return {"box": _rounded(entry["bbox"], scale), "path": ""}
    box = coco_mask.toBbox(entry["segmentation"]).tolist()
    return {"box": _rounded(box, scale), "path": _outline(entry["segmentation"], scale)}


def _rounded(box: Sequence[float], scale: float) -> list[float]:
    return [round(float(side) * scale, 1) for side in box]


def _outline(mask: RunLength, scale: float) -> str:
    """Return the outer and inner borders of a mask as an SVG path."""
    crop = decode_crop(mask)
    if not crop.pixels.any():
        return ""
    contours, _ = cv2.findContours(crop.pixels.astype(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)
    parts = []
    for contour in contours:
        corners = cv2.approxPolyDP(contour, _CORNER_TOLERANCE / scale, closed=True)[:, 0]
        # OpenCV's corners are pixel centers.
        places = (corners + np.array([crop.left + 0.5, crop.top + 0.5])) * scale
        parts.append("M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in places.tolist()) + "Z")
    return "".join(parts)
