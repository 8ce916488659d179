"""RoIAlign of packed bitmaps: how much of each cell of a region's grid a mask covers.

The operator `lightning_rcnn::align_bitmaps` with its shape for the compiler; it has no gradient.
"""

from typing import Any

import numpy as np
import torch
import torchvision.ops
from torch import Tensor

torch.library.define(
    "lightning_rcnn::align_bitmaps",
    "(Tensor bits, Tensor first_byte, Tensor sizes, Tensor crop_boxes, Tensor boxes, Tensor gt_index, Tensor is_valid, "
    "SymInt size, bool aligned) -> Tensor",
)


@torch.library.impl("lightning_rcnn::align_bitmaps", "CompositeExplicitAutograd")
def _align(
    bits: Tensor,
    first_byte: Tensor,
    sizes: Tensor,
    crop_boxes: Tensor,
    boxes: Tensor,
    gt_index: Tensor,
    is_valid: Tensor,
    size: int,
    aligned: bool,
) -> Tensor:
    targets = torch.zeros(*gt_index.shape, size, size)
    packed = bits.numpy(force=True)
    first_byte, sizes, crop_boxes, host_boxes, gt_index, is_valid = (
        tensor.cpu() for tensor in (first_byte, sizes, crop_boxes, boxes, gt_index, is_valid)
    )
    for image in range(len(boxes)):
        for index in gt_index[image][is_valid[image]].unique().tolist():
            height, width = sizes[image, index].tolist()
            if height * width == 0:
                continue
            here = is_valid[image] & (gt_index[image] == index)
            first = int(first_byte[image, index])
            crop = np.unpackbits(packed[first : first + -(-height * width // 8)], count=height * width)
            bitmap = torch.from_numpy(crop).view(1, 1, height, width).double()
            rois = _regions_in_crop(host_boxes[image][here], crop_boxes[image, index], height, width, aligned)
            pooled = torchvision.ops.roi_align(bitmap, [rois], size, sampling_ratio=0, aligned=True)
            targets[image, here] = pooled[:, 0].float()
    return targets.to(boxes.device)


@torch.library.register_fake("lightning_rcnn::align_bitmaps")
def _align_shape(
    bits: Any, first_byte: Any, sizes: Any, crop_boxes: Any, boxes: Tensor, gt_index: Tensor, *rest: Any
) -> Tensor:
    _, size, _ = rest
    return boxes.new_empty((*gt_index.shape, size, size), dtype=torch.float32)


def _regions_in_crop(boxes: Tensor, crop_box: Tensor, height: int, width: int, aligned: bool) -> Tensor:
    """Boxes of the resized frame in the pixels of a crop, float64 [R, 4], the first pixel's centre at 0.5."""
    boxes, crop_box = boxes.double(), crop_box.double()
    scale = crop_box.new_tensor([width, height]) / (crop_box[2:] - crop_box[:2])
    start, length = boxes[:, :2], boxes[:, 2:] - boxes[:, :2]
    if not aligned:
        start, length = start + 0.5, length.clamp(min=1)
    start = (start - crop_box[:2]) * scale
    return torch.cat((start, start + length * scale), dim=1)
