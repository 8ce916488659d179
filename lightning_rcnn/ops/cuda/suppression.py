"""Launch of non-maximum suppression of a batch, the kernel of `nms.cu`.

As in `operations.py`, no function waits for the GPU or depends on the values of tensors.

Shape letters: N images, P boxes of an image.
"""

import ctypes
import math
from pathlib import Path

import torch
from torch import Tensor

from lightning_rcnn.ops.cuda import launcher
from lightning_rcnn.ops.cuda.compiler import Program
from lightning_rcnn.ops.gather import gather_boxes

NMS = Program(Path(__file__).with_name("nms.cu"))
CHUNK = 32
"""Sorted positions of an image in which a block looks for the starts of groups; CHUNK in the source."""
_IGNORED_KEY = torch.iinfo(torch.int64).max
_INT32_MAX = torch.iinfo(torch.int32).max


class NmsParams(ctypes.Structure):
    """Parameters of `suppress`, with the fields of `nms.cu`."""

    _fields_ = (
        ("keys", ctypes.c_void_p),
        ("indices", ctypes.c_void_p),
        ("boxes", ctypes.c_void_p),
        ("suppressed", ctypes.c_void_p),
        ("keep", ctypes.c_void_p),
        ("num_boxes", ctypes.c_int),
        ("iou_threshold", ctypes.c_float),
    )


def suppress(boxes: Tensor, scores: Tensor, groups: Tensor, iou_threshold: float) -> Tensor:
    """Run `nms.non_maximum_suppression` on a GPU."""
    keys, indices = sort_keys(scores, groups).sort(dim=1, stable=True)
    ordered = gather_boxes(boxes.float(), indices)
    keep, suppressed = torch.zeros(2, *scores.shape, dtype=torch.bool, device=scores.device)
    num_images, num_boxes = scores.shape
    if keep.numel() == 0:
        return keep
    params = NmsParams(
        keys=keys.data_ptr(),
        indices=indices.data_ptr(),
        boxes=ordered.data_ptr(),
        suppressed=suppressed.data_ptr(),
        keep=keep.data_ptr(),
        num_boxes=num_boxes,
        iou_threshold=round_down(iou_threshold),
    )
    launcher.launch("suppress", NMS, (math.ceil(num_boxes / CHUNK), num_images), params, scores.device)
    return keep


def sort_keys(scores: Tensor, groups: Tensor) -> Tensor:
    """Compute int64 keys [N, P] that sort boxes by group, best first within a group, and ignored boxes last."""
    # Read as integers, the bits of positive floats increase with them, those of negative floats decrease. Adding zero
    # makes negative zero positive.
    bits = (scores.float() + 0.0).view(torch.int32)
    ascending = torch.where(bits < 0, bits ^ _INT32_MAX, bits).long()
    return torch.where(torch.isfinite(scores), (groups << 32) + (_INT32_MAX - ascending), _IGNORED_KEY)


def round_down(value: float) -> float:
    """Return the largest float32 that is at most `value`: a float32 exceeds it exactly if it exceeds `value`."""
    nearest = ctypes.c_float(value).value
    if nearest <= value:
        return nearest
    return torch.nextafter(torch.tensor(nearest), torch.tensor(-torch.inf)).item()
