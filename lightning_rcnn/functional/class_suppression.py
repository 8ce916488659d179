"""Non-maximum suppression across classes: of detections in one place only the best stays, so an object has one class.

Shape letters: D detections.
"""

from collections.abc import Sequence
from typing import NamedTuple

from torchvision.ops import nms

from lightning_rcnn.structures import Detections


class Suppression(NamedTuple):
    """Non-maximum suppression of a detector.

    Attributes:
        iou: IoU above which only the better of two boxes is kept.
        across_classes: whether boxes of different classes suppress each other, too.
    """

    iou: float = 0.5
    across_classes: bool = False


def suppress_across_classes(found: Sequence[Detections], iou: float) -> list[Detections]:
    """Drop the detections of each image that a better one of any class overlaps by more than `iou`.

    Args:
        found: detections [1, D] of each image, without padding.
        iou: IoU, 0 to 1.
    """
    return [_best_of_places(detections, iou) for detections in found]


def _best_of_places(detections: Detections, iou: float) -> Detections:
    kept = nms(detections.boxes[0].float(), detections.scores[0].float(), iou)
    return Detections._make(None if values is None else values[:, kept] for values in detections)
