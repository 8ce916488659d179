"""Box geometry on tensors. Boxes are xyxy edges in float32 pixels, whatever autocast does; see `structures.py`."""

import math

import torch
from torch import Tensor

MAX_LOG_SCALE = math.log(1000.0 / 16)
"""Largest dw, dh that `decode` follows: a box grows by at most 62.5, so that exp() cannot overflow early in training.
The value is that of Detectron, detectron2 and torchvision."""


def box_area(boxes: Tensor) -> Tensor:
    """Areas [...] of boxes [..., 4]; an inverted box has area 0."""
    sides = (boxes[..., 2:] - boxes[..., :2]).clamp(min=0)
    return sides[..., 0] * sides[..., 1]


def intersection(boxes: Tensor, others: Tensor) -> Tensor:
    """Areas of overlap [..., A, B] of boxes [..., A, 4] with others [..., B, 4]; leading dimensions broadcast."""
    # One coordinate at a time: slices of a last dimension of 4 would stride through memory.
    left, top, right, bottom = boxes[..., :, None, :].unbind(-1)
    other_left, other_top, other_right, other_bottom = others[..., None, :, :].unbind(-1)
    width = (torch.minimum(right, other_right) - torch.maximum(left, other_left)).clamp_(min=0)
    height = (torch.minimum(bottom, other_bottom) - torch.maximum(top, other_top)).clamp_(min=0)
    return width.mul_(height)


def pairwise_iou(boxes: Tensor, others: Tensor) -> Tensor:
    """Intersection over union [..., A, B]; 0 where both boxes are empty."""
    overlap = intersection(boxes, others)
    union = box_area(boxes)[..., :, None] + box_area(others)[..., None, :] - overlap
    return overlap.div_(union.clamp_(min=torch.finfo(union.dtype).tiny))


def clip_boxes(boxes: Tensor, image_sizes: Tensor) -> Tensor:
    """Boxes [N, B, 4] cut at the edges of their images; `image_sizes` [N, 2] is (height, width)."""
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


def is_larger_than(boxes: Tensor, side: float) -> Tensor:
    """Bool [...]: both sides of boxes [..., 4] are at least `side` pixels and finite."""
    sides = boxes[..., 2:] - boxes[..., :2]
    return ((sides >= side) & torch.isfinite(sides)).all(-1)


def encode(boxes: Tensor, references: Tensor, weights: tuple[float, float, float, float]) -> Tensor:
    """Deltas [..., 4] = (dx, dy, dw, dh) that turn `references` into `boxes` (R-CNN, appendix C).

    Degenerate references or boxes (padding) give finite deltas: sides are taken as at least 1e-6 pixels, which is
    below anything that a sampled region can have.
    """
    reference_size = (references[..., 2:] - references[..., :2]).clamp(min=1e-6)
    reference_center = references[..., :2] + 0.5 * (references[..., 2:] - references[..., :2])
    size = (boxes[..., 2:] - boxes[..., :2]).clamp(min=1e-6)
    center = boxes[..., :2] + 0.5 * (boxes[..., 2:] - boxes[..., :2])
    wx, wy, ww, wh = weights
    dx, dy = ((center - reference_center) / reference_size).unbind(-1)
    dw, dh = torch.log(size / reference_size).unbind(-1)
    return torch.stack((dx * wx, dy * wy, dw * ww, dh * wh), dim=-1)


def decode(deltas: Tensor, references: Tensor, weights: tuple[float, float, float, float]) -> Tensor:
    """Boxes [..., 4] from deltas [..., 4] and references [..., 4]; inverse of `encode`. Always float32."""
    deltas, references = deltas.float(), references.float()
    size = references[..., 2:] - references[..., :2]
    width, height = size.unbind(-1)
    center_x, center_y = (references[..., :2] + 0.5 * size).unbind(-1)
    wx, wy, ww, wh = weights
    dx, dy, dw, dh = deltas.unbind(-1)
    center_x = dx / wx * width + center_x
    center_y = dy / wy * height + center_y
    half_width = 0.5 * torch.exp((dw / ww).clamp(max=MAX_LOG_SCALE)) * width
    half_height = 0.5 * torch.exp((dh / wh).clamp(max=MAX_LOG_SCALE)) * height
    return torch.stack(
        (center_x - half_width, center_y - half_height, center_x + half_width, center_y + half_height), dim=-1
    )


def rescale(boxes: Tensor, sizes: Tensor, new_sizes: Tensor) -> Tensor:
    """Boxes [N, B, 4] moved from frames of `sizes` to frames of `new_sizes`, both [N, 2] as (height, width).

    They are clipped to the new frame, which a rounded product could leave. An empty slot (size 0) is not scaled.
    """
    factor = torch.where(sizes > 0, new_sizes.float() / sizes.clamp(min=1).float(), 1.0)
    return clip_boxes(boxes * factor.flip(-1).repeat(1, 2)[:, None, :], new_sizes)
