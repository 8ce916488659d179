"""PASCAL VOC's matching: true, false and uncounted detections of one image.

Source: Everingham et al., The PASCAL Visual Object Classes Challenge, IJCV 2010, section 4.2, and `VOCevaldet.m` of
its development kit.
"""

import numpy as np
import torch

from lightning_rcnn.functional.boxes import pairwise_iou

TRUE, FALSE, UNCOUNTED = 1, 0, -1
"""Verdicts on a detection."""


def judge(
    boxes: np.ndarray,
    labels: np.ndarray,
    scores: np.ndarray,
    gt_boxes: np.ndarray,
    gt_labels: np.ndarray,
    is_ignored: np.ndarray,
    iou_threshold: float,
) -> np.ndarray:
    """Compare each detection with the object of its class that it overlaps most; ties go to the first.

    The best detection of an object is true; ties of scores go to the first. Any other detection of it is false, even if
    it overlaps a second object enough: COCO's matching would assign it to that one. Detections of an ignored object do
    not count, however many there are.

    Args:
        boxes: float64 [D, 4], xyxy edges in the frame of `gt_boxes`.
        labels: int [D], labels 1..K of the detections.
        scores: float [D], scores in any order.
        gt_boxes: float64 [M, 4], xyxy edges of the objects.
        gt_labels: int [M], labels of the objects.
        is_ignored: bool [M], whether an object need not be found.
        iou_threshold: lowest IoU with an object; equal is enough, as in the development kit.

    Returns:
        int8 [D], `TRUE`, `FALSE` or `UNCOUNTED`.
    """
    verdicts = np.full(len(boxes), FALSE, dtype=np.int8)
    if not len(boxes) or not len(gt_boxes):
        return verdicts
    overlaps = pairwise_iou(torch.from_numpy(boxes), torch.from_numpy(gt_boxes)).numpy()
    overlaps[labels[:, None] != gt_labels] = -1
    closest = overlaps.argmax(1)
    is_close = overlaps.max(1) >= iou_threshold
    verdicts[is_close & is_ignored[closest]] = UNCOUNTED

    best_first = np.argsort(-scores, kind="stable")
    rivals = best_first[(is_close & ~is_ignored[closest])[best_first]]
    _, first = np.unique(closest[rivals], return_index=True)
    verdicts[rivals[first]] = TRUE
    return verdicts
