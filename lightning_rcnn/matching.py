"""Which ground truth does a box belong to? Batched over images, and without a host sync.

Shape letters: N images, M ground truths (padded), B boxes (anchors or proposals).
Source: Faster R-CNN section 3.1.2 (both rules for positives); torchvision and detectron2 `Matcher`.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from lightning_rcnn.boxes import box_area, intersection, pairwise_iou

GROUND_TRUTHS_AT_A_TIME = 32
"""The IoU table [N, M, B] of a crowded image would be gigabytes (400 x 268 000), so it is made in slices."""


class Overlaps(NamedTuple):
    """The ground truth that each box overlaps most.

    Attributes:
        iou: float32 [N, B]; -1 where the image has no object.
        gt_index: int64 [N, B] into the M slots; the first on ties, 0 where there is no object.
        is_best_of_object: bool [N, B]: no other box overlaps some object more than this one (ties included).
    """

    iou: Tensor
    gt_index: Tensor
    is_best_of_object: Tensor


def best_overlaps(gt_boxes: Tensor, is_object: Tensor, boxes: Tensor) -> Overlaps:
    """Compare boxes [N or 1, B, 4] with ground truth [N, M, 4] where `is_object` [N, M]."""
    num_images, num_boxes = gt_boxes.shape[0], boxes.shape[1]
    best = gt_boxes.new_full((num_images, num_boxes), -1.0)
    index = torch.zeros((num_images, num_boxes), dtype=torch.int64, device=gt_boxes.device)
    is_best = torch.zeros((num_images, num_boxes), dtype=torch.bool, device=gt_boxes.device)
    for start in range(0, gt_boxes.shape[1], GROUND_TRUTHS_AT_A_TIME):
        part = slice(start, start + GROUND_TRUTHS_AT_A_TIME)
        iou = pairwise_iou(gt_boxes[:, part], boxes).masked_fill_(~is_object[:, part, None], -1.0)
        value, where = iou.max(dim=1)
        index = torch.where(value > best, where + start, index)
        best = torch.maximum(value, best)
        # An object that nothing overlaps has no best box: its row of zeros would make every box one.
        highest = iou.amax(dim=2, keepdim=True)
        highest = torch.where(highest > 0, highest, torch.inf)
        is_best |= (iou == highest).any(dim=1)
    return Overlaps(best, index, is_best)


def inside_crowd(boxes: Tensor, gt_boxes: Tensor, is_crowd: Tensor, share: float) -> Tensor:
    """Bool [N, B]: more than `share` of the box's own area lies in one crowd region (Detectron's rule, 0.7 there).

    Args:
        boxes: [N or 1, B, 4].
        gt_boxes: [N, M, 4].
        is_crowd: bool [N, M].
        share: of the box's area.
    """
    result = torch.zeros((gt_boxes.shape[0], boxes.shape[1]), dtype=torch.bool, device=boxes.device)
    area = box_area(boxes)
    for start in range(0, gt_boxes.shape[1], GROUND_TRUTHS_AT_A_TIME):
        part = slice(start, start + GROUND_TRUTHS_AT_A_TIME)
        overlap = intersection(gt_boxes[:, part], boxes).masked_fill_(~is_crowd[:, part, None], 0.0)
        result |= overlap.amax(dim=1) > share * area.clamp(min=torch.finfo(area.dtype).tiny)
    return result
