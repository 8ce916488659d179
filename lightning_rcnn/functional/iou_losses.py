"""Losses by the overlap of a predicted box and its ground truth, one value for each pair of boxes.

torchvision has the same functions; theirs index by masks, so that a step waits for the GPU. The values are theirs, with
their epsilon. Boxes are xyxy, [..., 4] both, float32, with sides above 0; the losses are [...].
"""

import math

import torch
from torch import Tensor

_EPSILON = 1e-7


def giou_loss(boxes: Tensor, gt_boxes: Tensor) -> Tensor:
    """Compute 1 - GIoU (Rezatofighi et al. 2019, arXiv 1902.09630), 0 to 2: boxes that do not touch attract too."""
    iou, union = _iou(boxes, gt_boxes)
    width, height = _hull(boxes, gt_boxes)
    hull = width * height
    return 1 - iou + (hull - union) / (hull + _EPSILON)


def diou_loss(boxes: Tensor, gt_boxes: Tensor) -> Tensor:
    """Compute 1 - IoU + d²/c², of centers d apart in a hull of diagonal c (Zheng et al. 2020, arXiv 1911.08287)."""
    return 1 - _iou(boxes, gt_boxes)[0] + _center_distance(boxes, gt_boxes)


def ciou_loss(boxes: Tensor, gt_boxes: Tensor) -> Tensor:
    """Compute the loss of `diou_loss` and the difference of the aspect ratios (the same paper, section 3.3)."""
    iou = _iou(boxes, gt_boxes)[0]
    aspect = 4 / math.pi**2 * (_angle(gt_boxes) - _angle(boxes)) ** 2
    with torch.no_grad():
        weight = aspect / (1 - iou + aspect + _EPSILON)
    return 1 - iou + _center_distance(boxes, gt_boxes) + weight * aspect


def _iou(boxes: Tensor, gt_boxes: Tensor) -> tuple[Tensor, Tensor]:
    """Return IoU and area of the union."""
    low, high = torch.maximum(boxes[..., :2], gt_boxes[..., :2]), torch.minimum(boxes[..., 2:], gt_boxes[..., 2:])
    overlap = (high - low).clamp(min=0).prod(dim=-1)
    areas = [(each[..., 2:] - each[..., :2]).prod(dim=-1) for each in (boxes, gt_boxes)]
    union = areas[0] + areas[1] - overlap
    return overlap / (union + _EPSILON), union


def _hull(boxes: Tensor, gt_boxes: Tensor) -> tuple[Tensor, Tensor]:
    """Return width and height of the smallest box around both."""
    low, high = torch.minimum(boxes[..., :2], gt_boxes[..., :2]), torch.maximum(boxes[..., 2:], gt_boxes[..., 2:])
    width, height = (high - low).unbind(-1)
    return width, height


def _center_distance(boxes: Tensor, gt_boxes: Tensor) -> Tensor:
    """Return the squared distance of the centers as a fraction of the squared diagonal of the hull."""
    width, height = _hull(boxes, gt_boxes)
    apart = (boxes[..., :2] + boxes[..., 2:] - gt_boxes[..., :2] - gt_boxes[..., 2:]) / 2
    return (apart**2).sum(dim=-1) / (width**2 + height**2 + _EPSILON)


def _angle(boxes: Tensor) -> Tensor:
    # A predicted side may round to 0, whose quotient has no gradient.
    width, height = (boxes[..., 2:] - boxes[..., :2]).clamp(min=_EPSILON).unbind(-1)
    return torch.atan(width / height)
