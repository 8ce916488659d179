"""How well anchors fit objects, without computing all anchors of an image.

All anchors of a level have the same few shapes, and their centers lie on a grid. The IoU of an anchor and a box grows
with their intersection, which along each axis grows as the centers approach. So the best anchor of a shape is the one
whose center is nearest along each axis, and one anchor a shape and level has to be looked at.

Shape letters: M objects, A shapes of anchors on a level.
"""

import torch
from torch import Tensor

from lightning_rcnn.functional.boxes import box_area
from lightning_rcnn.rpn.anchors import AnchorGenerator

_AT_A_TIME = 1 << 16
"""Objects that are computed at a time."""


def best_anchor_iou(
    anchors: AnchorGenerator, boxes: Tensor, image_sizes: Tensor, divisor: int, *, is_inside: bool = False
) -> Tensor:
    """Compute the IoU of each object with its best anchor.

    Args:
        anchors: anchors of the detector.
        boxes: float32 [M, 4], resized frame.
        image_sizes: (height, width) of the image of each object, int64 [M, 2], resized frame.
        divisor: edges of padded images are multiples of it, pixels; other padding adds anchors beyond the image.
        is_inside: whether only anchors count that do not cross the image boundary.

    Returns:
        Float32 [M].
    """
    parts = [
        torch.stack(
            [_level(anchors, level, some, sizes, divisor, is_inside) for level in range(anchors.num_levels)]
        ).amax(dim=0)
        for some, sizes in zip(boxes.split(_AT_A_TIME), image_sizes.split(_AT_A_TIME), strict=True)
    ]
    return torch.cat(parts) if parts else boxes.new_zeros(0)


def _level(
    anchors: AnchorGenerator, level: int, boxes: Tensor, image_sizes: Tensor, divisor: int, is_inside: bool
) -> Tensor:
    """Return the best IoU with the anchors of a level, [M]."""
    cell: Tensor = getattr(anchors, f"cell_{level}")
    padded = (image_sizes + divisor - 1) // divisor * divisor
    num_steps = (padded + anchors.strides[level] - 1) // anchors.strides[level]
    stride = padded // num_steps if anchors.stride == "image_ratio" else torch.full_like(padded, anchors.strides[level])
    overlap = boxes.new_ones(len(boxes), len(cell))
    exists = torch.ones_like(overlap, dtype=torch.bool)
    for axis in (0, 1):
        low, high = boxes[:, axis, None], boxes[:, axis + 2, None]
        step = stride[:, 1 - axis, None].float()
        first, last = torch.zeros_like(overlap), (num_steps[:, 1 - axis, None] - 1).float().expand_as(overlap)
        if is_inside:
            first = torch.ceil(-cell[:, axis] / step).clamp(min=0)
            last = torch.minimum(last, ((image_sizes[:, 1 - axis, None] - cell[:, axis + 2]) / step).floor())
            exists &= first <= last
        # A rounded cell is not symmetric about its position.
        middle = (cell[:, axis] + cell[:, axis + 2]) / 2
        nearest = (((low + high) / 2 - middle) / step).round()
        center = torch.minimum(torch.maximum(nearest, first), last) * step
        overlap *= (torch.minimum(high, center + cell[:, axis + 2]) - torch.maximum(low, center + cell[:, axis])).clamp(
            min=0
        )
    union = box_area(boxes)[:, None] + box_area(cell) - overlap
    return torch.where(exists, overlap / union.clamp(min=torch.finfo(union.dtype).tiny), 0.0).amax(dim=1)
