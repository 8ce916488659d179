"""RoIAlign of packed bitmaps, registered with `torch.library`. The operator has no gradient."""

from typing import Any

import torch
from torch import Tensor

from lightning_rcnn.ops.cpu import bitmaps as cpu
from lightning_rcnn.ops.cuda import bitmaps as kernels
from lightning_rcnn.ops.dispatch import run
from lightning_rcnn.structures import Bitmaps

torch.library.define(
    "lightning_rcnn::align_bitmaps",
    "(Tensor bits, Tensor first_byte, Tensor sizes, Tensor crop_boxes, Tensor boxes, Tensor gt_index, Tensor is_valid, "
    "SymInt size, bool aligned, str impl) -> Tensor",
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
    impl: str,
) -> Tensor:
    masks = Bitmaps(bits, first_byte, sizes, crop_boxes)
    return run(
        "align_bitmaps",
        impl,
        boxes.device,
        kernels.obstacle(boxes),
        lambda: kernels.align_bitmaps(masks, boxes, gt_index, is_valid, size, aligned),
        lambda: _align_on_host(masks, boxes, gt_index, is_valid, size, aligned),
    )


@torch.library.register_fake("lightning_rcnn::align_bitmaps")
def _align_shape(
    bits: Any, first_byte: Any, sizes: Any, crop_boxes: Any, boxes: Tensor, gt_index: Tensor, *rest: Any
) -> Tensor:
    _, size, *_ = rest
    return boxes.new_empty((*gt_index.shape, size, size), dtype=torch.float32)


def _align_on_host(
    masks: Bitmaps, boxes: Tensor, gt_index: Tensor, is_valid: Tensor, size: int, aligned: bool
) -> Tensor:
    num_images, num_objects = masks.first_byte.shape
    first_of_image = torch.arange(num_images, device=boxes.device)[:, None] * num_objects
    objects = torch.where(is_valid, first_of_image + gt_index, -1)
    host_masks = cpu.HostBitmaps(
        masks.bits.numpy(force=True),
        masks.first_byte.flatten().numpy(force=True),
        masks.sizes.flatten(0, 1).numpy(force=True),
        masks.boxes.flatten(0, 1).numpy(force=True),
    )
    host_boxes, host_objects = boxes.flatten(0, 1).numpy(force=True), objects.flatten().numpy(force=True)
    targets = cpu.align_bitmaps(host_masks, host_boxes, host_objects, size, aligned)
    return torch.from_numpy(targets).view(*gt_index.shape, size, size).to(boxes.device)
