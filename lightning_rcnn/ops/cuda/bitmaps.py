"""Launch of RoIAlign of packed bitmaps, a kernel of `roi_kernels.cu`.

As in `operations.py`, no function waits for the GPU or depends on the values of tensors.
"""

import math

import torch
from torch import Tensor

from lightning_rcnn.ops.cuda import launcher
from lightning_rcnn.ops.cuda.arguments import BitmapParams
from lightning_rcnn.ops.cuda.compiler import roi_kernels
from lightning_rcnn.structures import Bitmaps


def obstacle(boxes: Tensor) -> str:
    """Return why the kernel cannot run on regions [N, R, 4]; empty if it can, as far as known without compiling."""
    return "" if boxes.device.type == "cuda" else f"masks are on the device {boxes.device}"


def align_bitmaps(
    masks: Bitmaps, boxes: Tensor, gt_index: Tensor, is_valid: Tensor, size: int, aligned: bool
) -> Tensor:
    """Run `mask_targets.align_bitmaps` on a GPU."""
    targets = torch.empty(*gt_index.shape, size, size, device=boxes.device)
    if targets.numel() == 0:
        return targets
    tensors = {
        "bits": masks.bits,
        "first_byte": masks.first_byte.long(),
        "sizes": masks.sizes.long(),
        "crop_boxes": masks.boxes.float(),
        "boxes": boxes.float(),
        "gt_index": gt_index.long(),
        "is_valid": is_valid,
    }
    tensors = {name: tensor.contiguous() for name, tensor in tensors.items()}  # kept alive until the launch is enqueued
    params = BitmapParams(
        **{name: tensor.data_ptr() for name, tensor in tensors.items()},
        targets=targets.data_ptr(),
        num_objects=masks.first_byte.shape[1],
        num_regions=gt_index.shape[1],
        size=size,
        aligned=aligned,
    )
    blocks = (gt_index.numel(), math.ceil(size * size / launcher.THREADS))
    launcher.launch("align_bitmaps", roi_kernels(torch.float32, 1), blocks, params, boxes.device)
    return targets
