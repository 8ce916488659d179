"""The images of a batch: one tensor with a slot for each image, into which it is written once.

uint8 images are channels last in memory, as decoders write and as resizing is fastest; float32 ones are planes.

Shape letters: N slots, C channels, H and W height and width of a slot, h and w of an image.
"""

import math

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import get_worker_info

_FLIP_CODES = {(-2,): 0, (-1,): 1, (-2, -1): -1}
"""Axes -> OpenCV's code for the flip along them."""


def allocate_slots(num_slots: int, channels: int, shape: tuple[int, int], dtype: torch.dtype) -> Tensor:
    """Allocate the images of a batch, unset: [N, C, H, W] of uint8 or float32.

    Args:
        num_slots: N.
        channels: C.
        shape: (H, W) in pixels.
        dtype: type of the images.
    """
    if dtype != torch.uint8:
        return _allocate((num_slots, channels, *shape), dtype)
    return _allocate((num_slots, *shape, channels), dtype).permute(0, 3, 1, 2)


def write_image(image: Tensor, slot: Tensor, flipped_axes: tuple[int, ...] = ()) -> Tensor:
    """Write an image into the upper left of a slot, and flip it on the way.

    Args:
        image: [C, h, w], not larger than the slot.
        slot: [C, H, W].
        flipped_axes: -2 to flip top to bottom, -1 left to right, in this order.

    Returns:
        The image as written, a view [C, h, w] of the slot.
    """
    height, width = image.shape[-2:]
    written = slot[:, :height, :width]
    if flipped_axes and image.dtype == torch.uint8 == slot.dtype:
        cv2.flip(_rows(image), _FLIP_CODES[flipped_axes], dst=_rows(written))  # ten times as fast as torch
    else:
        written.copy_(image.flip(flipped_axes) if flipped_axes else image)
    return written


def clear_padding(slot: Tensor, height: int, width: int) -> None:
    """Set the pixels of a slot outside an image of (height, width) to 0."""
    slot[:, height:] = 0
    slot[:, :height, width:] = 0


def _rows(image: Tensor) -> np.ndarray:
    """Return [C, h, w] as OpenCV takes it, [h, w, C]."""
    return image.permute(1, 2, 0).numpy()


def _allocate(shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
    """Allocate a tensor; in a worker directly in shared memory, which saves a copy."""
    if get_worker_info() is None:
        return torch.empty(shape, dtype=dtype)
    storage = torch.UntypedStorage._new_shared(math.prod(shape) * dtype.itemsize)  # as torch's default_collate does
    return torch.empty(0, dtype=dtype).set_(storage).view(shape)
