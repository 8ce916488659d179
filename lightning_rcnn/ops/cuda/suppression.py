"""From tensors to a launch: non-maximum suppression of a batch, in the frame of `nms.cu`.

As in `operations.py`, nothing here waits for the GPU or depends on what the tensors hold.
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
"""Places of an image that a block looks after; CHUNK in the source."""
_TAKES_NO_PART = torch.iinfo(torch.int64).max
_HIGHEST = torch.iinfo(torch.int32).max


class NmsParams(ctypes.Structure):
    """What `suppress` takes, field by field as in `nms.cu`."""

    _fields_ = (
        ("keys", ctypes.c_void_p),
        ("places", ctypes.c_void_p),
        ("boxes", ctypes.c_void_p),
        ("struck", ctypes.c_void_p),
        ("keep", ctypes.c_void_p),
        ("num_boxes", ctypes.c_int),
        ("iou_threshold", ctypes.c_float),
    )


def suppress(boxes: Tensor, scores: Tensor, groups: Tensor, iou_threshold: float) -> Tensor:
    """As `nms.non_maximum_suppression`."""
    keys, places = sort_keys(scores, groups).sort(dim=1, stable=True)
    ordered = gather_boxes(boxes.float(), places)
    keep, struck = torch.zeros(2, *scores.shape, dtype=torch.bool, device=scores.device)
    num_images, num_boxes = scores.shape
    if keep.numel() == 0:
        return keep
    params = NmsParams(
        keys=keys.data_ptr(),
        places=places.data_ptr(),
        boxes=ordered.data_ptr(),
        struck=struck.data_ptr(),
        keep=keep.data_ptr(),
        num_boxes=num_boxes,
        iou_threshold=round_down(iou_threshold),
    )
    launcher.launch("suppress", NMS, (math.ceil(num_boxes / CHUNK), num_images), params, scores.device)
    return keep


def sort_keys(scores: Tensor, groups: Tensor) -> Tensor:
    """Numbers, int64 [N, P], that sort boxes by group and within it best first; boxes that take no part come last."""
    # The bits of a float, read as an integer, rise with it where it is positive and fall where it is negative; adding
    # zero makes the negative zero a positive one.
    bits = (scores.float() + 0.0).view(torch.int32)
    rising = torch.where(bits < 0, bits ^ _HIGHEST, bits).long()
    return torch.where(torch.isfinite(scores), (groups << 32) + (_HIGHEST - rising), _TAKES_NO_PART)


def round_down(value: float) -> float:
    """The largest float32 that is not above `value`: a float32 is above the one exactly if it is above the other."""
    nearest = ctypes.c_float(value).value
    if nearest <= value:
        return nearest
    return torch.nextafter(torch.tensor(nearest), torch.tensor(-torch.inf)).item()
