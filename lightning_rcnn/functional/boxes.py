"""Box geometry on tensors. Boxes are xyxy edges in float32 pixels, also under autocast; see `structures.py`.

Shape letters: N images, A and B boxes, ... any leading dimensions.
"""

import math

import torch
from torch import Tensor

MAX_LOG_SCALE = math.log(1000.0 / 16)
"""Limit of dw and dh in `decode`: a box grows at most by a factor of 62.5, so that exp() cannot overflow.

Detectron, detectron2 and torchvision use the same value.
"""


def box_area(boxes: Tensor) -> Tensor:
    """Compute the areas [...] of boxes [..., 4], square pixels; an inverted box has area 0."""
    sides = (boxes[..., 2:] - boxes[..., :2]).clamp(min=0)
    return sides[..., 0] * sides[..., 1]


def intersection(boxes: Tensor, others: Tensor) -> Tensor:
    """Compute intersection areas [..., A, B] of boxes [..., A, 4] and others [..., B, 4]; dimensions ... broadcast."""
    # One coordinate at a time: slices of a last dimension of 4 would stride through memory.
    left, top, right, bottom = boxes[..., :, None, :].unbind(-1)
    other_left, other_top, other_right, other_bottom = others[..., None, :, :].unbind(-1)
    width = (torch.minimum(right, other_right) - torch.maximum(left, other_left)).clamp_(min=0)
    height = (torch.minimum(bottom, other_bottom) - torch.maximum(top, other_top)).clamp_(min=0)
    return width.mul_(height)


def pairwise_iou(boxes: Tensor, others: Tensor) -> Tensor:
    """Compute the IoU [..., A, B] of boxes [..., A, 4] and others [..., B, 4]; 0 if both are empty."""
    overlap = intersection(boxes, others)
    union = box_area(boxes)[..., :, None] + box_area(others)[..., None, :] - overlap
    return overlap.div_(union.clamp_(min=torch.finfo(union.dtype).tiny))


def clip_boxes(boxes: Tensor, image_sizes: Tensor) -> Tensor:
    """Clip boxes [N, B, 4] to their images; `image_sizes` [N, 2] is (height, width)."""
    height, width = image_sizes.to(boxes.dtype)[:, None, :].unbind(-1)
    zero = torch.zeros_like(height)
    x1, y1, x2, y2 = boxes.unbind(-1)
    return torch.stack(
        (
            torch.minimum(x1.clamp(min=0), width.maximum(zero)),
            torch.minimum(y1.clamp(min=0), height.maximum(zero)),
            torch.minimum(x2.clamp(min=0), width.maximum(zero)),
            torch.minimum(y2.clamp(min=0), height.maximum(zero)),
        ),
        dim=-1,
    )


def has_min_size(boxes: Tensor, min_size: float) -> Tensor:
    """Tell whether both sides of boxes [..., 4] are at least `min_size` pixels and finite; bool [...]."""
    sides = boxes[..., 2:] - boxes[..., :2]
    return ((sides >= min_size) & torch.isfinite(sides)).all(-1)


def encode(boxes: Tensor, references: Tensor, weights: tuple[float, float, float, float]) -> Tensor:
    """Compute the deltas that turn reference boxes into boxes (R-CNN, appendix C).

    Degenerate references or boxes (padding) give finite deltas: sides count as at least 1e-6 pixels, which is below the
    side of any sampled box.

    Args:
        boxes, references: [..., 4].
        weights: factors of (dx, dy, dw, dh).

    Returns:
        (dx, dy, dw, dh), [..., 4].
    """
    reference_size = (references[..., 2:] - references[..., :2]).clamp(min=1e-6)
    reference_center = references[..., :2] + 0.5 * (references[..., 2:] - references[..., :2])
    size = (boxes[..., 2:] - boxes[..., :2]).clamp(min=1e-6)
    center = boxes[..., :2] + 0.5 * (boxes[..., 2:] - boxes[..., :2])
    wx, wy, ww, wh = weights
    dx, dy = ((center - reference_center) / reference_size).unbind(-1)
    dw, dh = torch.log(size / reference_size).unbind(-1)
    return torch.stack((dx * wx, dy * wy, dw * ww, dh * wh), dim=-1)


def decode(
    deltas: Tensor, references: Tensor, weights: tuple[float, float, float, float], min_scale: float = 0.0
) -> Tensor:
    """Apply deltas [..., 4] to references [..., 4]: the inverse of `encode`; float32 [..., 4].

    Args:
        deltas, references, weights: as `encode` returns and takes them.
        min_scale: least factor of a side (mmdetection has 16 / 1000); 0 for no limit.
    """
    lowest = math.log(min_scale) if min_scale > 0 else None
    deltas, references = deltas.float(), references.float()
    size = references[..., 2:] - references[..., :2]
    width, height = size.unbind(-1)
    center_x, center_y = (references[..., :2] + 0.5 * size).unbind(-1)
    wx, wy, ww, wh = weights
    dx, dy, dw, dh = deltas.unbind(-1)
    center_x = dx / wx * width + center_x
    center_y = dy / wy * height + center_y
    half_width = 0.5 * torch.exp((dw / ww).clamp(min=lowest, max=MAX_LOG_SCALE)) * width
    half_height = 0.5 * torch.exp((dh / wh).clamp(min=lowest, max=MAX_LOG_SCALE)) * height
    return torch.stack(
        (center_x - half_width, center_y - half_height, center_x + half_width, center_y + half_height), dim=-1
    )


def rescale_points(points: Tensor, sizes: Tensor, new_sizes: Tensor) -> Tensor:
    """Scale points from one frame to another.

    Args:
        points: [N, ..., 2], (x, y).
        sizes, new_sizes: as in `rescale`.
    """
    return points * _factor(sizes, new_sizes).view(-1, *[1] * (points.ndim - 2), 2)


def rescale(boxes: Tensor, sizes: Tensor, new_sizes: Tensor) -> Tensor:
    """Scale boxes from one frame to another and clip them to it.

    Args:
        boxes: [N, B, 4].
        sizes: [N, 2], (height, width) of the frames of the boxes; boxes of an empty slot (size 0) are not scaled.
        new_sizes: [N, 2], (height, width) of the new frames.

    Returns:
        [N, B, 4]; clipped because rounding could move an edge out of the new frame.
    """
    return clip_boxes(boxes * _factor(sizes, new_sizes).repeat(1, 2)[:, None, :], new_sizes)


def _factor(sizes: Tensor, new_sizes: Tensor) -> Tensor:
    """Return the scale of x and y [N, 2] between frames."""
    return torch.where(sizes > 0, new_sizes.float() / sizes.clamp(min=1).float(), 1.0).flip(-1)
