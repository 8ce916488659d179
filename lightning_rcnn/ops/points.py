"""Values of maps and of packed bitmaps at points, interpolated bilinearly between the centers of pixels.

Shape letters: N images, C channels, H and W height and width of a map, R regions of an image, P points of a region,
M ground truths.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from lightning_rcnn.structures import Bitmaps


def in_image(points: Tensor, boxes: Tensor) -> Tensor:
    """Map points [..., R, P, 2], (x, y) from 0 to 1 in their boxes [..., R, 4], to the frame of the boxes."""
    corner, size = boxes[..., None, :2], (boxes[..., 2:] - boxes[..., :2])[..., None, :]
    return corner + points * size


def sample_map(features: Tensor, points: Tensor, stride: int) -> Tensor:
    """Sample a map at points of its image; outside of the map it is zero.

    Args:
        features: [N, C, H, W].
        points: float32 [N, R, P, 2], (x, y) in pixels of the input.
        stride: input pixels of a cell.

    Returns:
        [N, C, R, P], differentiable in the map.
    """
    height, width = features.shape[-2:]
    # Filled, not made from a list: under a tracer the sizes are free.
    extent = torch.cat([points.new_full((1,), side * stride) for side in (width, height)])
    return F.grid_sample(features, (2 * points / extent - 1).to(features.dtype), align_corners=False)


def sample_grids(grids: Tensor, points: Tensor) -> Tensor:
    """Sample grids [B, K, S, S] that fill their boxes at points [B, P, 2], from 0 to 1 in the boxes: [B, K, P]."""
    return F.grid_sample(grids, (2 * points - 1).to(grids.dtype)[:, :, None], align_corners=False).squeeze(3)


def sample_bitmaps(masks: Bitmaps, points: Tensor, gt_index: Tensor) -> Tensor:
    """Sample the masks of objects at points.

    Args:
        masks: masks of the M objects of each image.
        points: float32 [N, R, P, 2], (x, y) in the resized frame.
        gt_index: int64 [N, R], index of each region's object in its image.

    Returns:
        float32 [N, R, P], 0 to 1; zeros for an object without a mask.
    """
    image = torch.arange(len(gt_index), device=gt_index.device)[:, None]
    sizes, boxes = masks.sizes[image, gt_index], masks.boxes[image, gt_index]  # [N, R, 2], [N, R, 4]
    height, width = sizes[..., None, 0], sizes[..., None, 1]
    extent = (boxes[..., 2:] - boxes[..., :2]).clamp(min=torch.finfo(boxes.dtype).tiny)[..., None, :]
    x, y = (((points - boxes[..., None, :2]) / extent) * sizes.flip(-1)[..., None, :] - 0.5).unbind(-1)
    first_bit = 8 * masks.first_byte[image, gt_index][..., None]
    left, top = x.floor(), y.floor()
    value = torch.zeros_like(x)
    for dx in (0, 1):
        for dy in (0, 1):
            column, row = left + dx, top + dy
            is_inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)
            # Outside, and in padding, any bit may be read: it does not count.
            bit = first_bit + torch.where(is_inside, row * width + column, 0).long()
            byte = masks.bits[(bit // 8).clamp(max=max(len(masks.bits) - 1, 0))].long() if len(masks.bits) else bit * 0
            is_set = (byte >> (7 - bit % 8)) & 1
            weight = (1 - (x - column).abs()) * (1 - (y - row).abs())
            value = value + torch.where(is_inside, is_set * weight, 0.0)
    return value
