"""Matching of boxes with ground truth, batched over images and without a host sync.

Shape letters: N images, M ground truths (padded), B boxes (anchors or proposals).
Source: Faster R-CNN section 3.1.2 (both rules for positives); torchvision and detectron2 `Matcher`.
"""

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from lightning_rcnn.functional.boxes import box_area, intersection, pairwise_iou

CELLS_AT_A_TIME = {"cpu": 1 << 20, "cuda": 1 << 26}
"""Cells of the table [N, M, B] that are computed at a time, in slices of M: the whole table of a crowded image
(400 x 268 000) would take gigabytes.

On the CPU small slices reuse warm memory (8 x 32 x 20 460 takes a quarter less time than in one piece); on a GPU they
are large, so that launches are few.
"""


class Overlaps(NamedTuple):
    """Overlaps of boxes with the ground truth of their image.

    Attributes:
        iou: float32 [N, B], largest IoU with an object; -1 if the image has no object.
        gt_index: int64 [N, B], index of that object among the M ground truths; the first on ties, 0 if there is none.
        is_best_of_object: bool [N, B], whether some object has its largest IoU with this box (ties included).
        crowd_area: float32 [N, B], largest intersection with a crowd, square pixels.
    """

    iou: Tensor
    gt_index: Tensor
    is_best_of_object: Tensor
    crowd_area: Tensor


def best_overlaps(gt_boxes: Tensor, is_object: Tensor, is_crowd: Tensor, boxes: Tensor) -> Overlaps:
    """Compute the overlaps of boxes with the ground truth.

    Args:
        gt_boxes: [N, M, 4].
        is_object, is_crowd: bool [N, M], never both True.
        boxes: [N or 1, B, 4].
    """
    num_images, num_boxes = gt_boxes.shape[0], boxes.shape[1]
    best = gt_boxes.new_full((num_images, num_boxes), -1.0)
    index = torch.zeros((num_images, num_boxes), dtype=torch.int64, device=gt_boxes.device)
    is_best = torch.zeros((num_images, num_boxes), dtype=torch.bool, device=gt_boxes.device)
    crowd_area = torch.zeros_like(best)
    area, gt_area = box_area(boxes)[:, None, :], box_area(gt_boxes)[:, :, None]
    for part in _slices(gt_boxes.shape[1], num_images * num_boxes, gt_boxes.device):
        overlap = intersection(gt_boxes[:, part], boxes)
        crowd_area = torch.maximum(crowd_area, torch.where(is_crowd[:, part, None], overlap, 0.0).amax(dim=1))
        union = (gt_area[:, part] + area).sub_(overlap).clamp_(min=torch.finfo(overlap.dtype).tiny)
        iou = overlap.div_(union).masked_fill_(~is_object[:, part, None], -1.0)
        value, where = iou.max(dim=1)
        index = torch.where(value > best, where + part.start, index)
        best = torch.maximum(value, best)
        # An object without overlap has no best box; its row of zeros would make every box the best.
        highest = iou.amax(dim=2, keepdim=True)
        highest = torch.where(highest > 0, highest, torch.inf)
        is_best |= (iou == highest).any(dim=1)
    return Overlaps(best, index, is_best, crowd_area)


def own_objects(gt_boxes: Tensor, is_object: Tensor, boxes: Tensor, min_iou: float) -> Tensor:
    """Find the objects that have their largest IoU with a box.

    Args:
        gt_boxes, is_object, boxes: as in `best_overlaps`.
        min_iou: IoU that it has to reach; without any overlap, an object has no such box.

    Returns:
        int64 [N, B], index among the M ground truths, of several the last; -1 if there is none.
    """
    num_images, num_boxes = gt_boxes.shape[0], boxes.shape[1]
    own = torch.full((num_images, num_boxes), -1, dtype=torch.int64, device=gt_boxes.device)
    for part in _slices(gt_boxes.shape[1], num_images * num_boxes, gt_boxes.device):
        iou = pairwise_iou(gt_boxes[:, part], boxes).masked_fill_(~is_object[:, part, None], -1.0)
        highest = iou.amax(dim=2, keepdim=True)
        is_best = (iou == highest) & (highest >= min_iou) & (highest > 0)
        index = torch.arange(part.start, part.start + iou.shape[1], device=own.device)[:, None]
        own = torch.maximum(own, torch.where(is_best, index, -1).amax(dim=1))
    return own


def _slices(num_ground_truths: int, cells: int, device: torch.device) -> Iterator[slice]:
    """Divide the ground truths into slices; `cells` is the number of table cells of one ground truth."""
    size = max(1, CELLS_AT_A_TIME.get(device.type, CELLS_AT_A_TIME["cuda"]) // max(cells, 1))
    for start in range(0, num_ground_truths, size):
        yield slice(start, start + size)
