"""The images of a batch: one tensor with a slot for each image, into which it is written once.

uint8 images are channels last in memory, as decoders write and as resizing is fastest; float32 ones are planes.

Shape letters: N slots, C channels, H and W height and width of a slot, h and w of an image, B bytes.
"""

from typing import NamedTuple

import cv2
import numpy as np
import torch
from torch import Tensor

_FLIP_CODES = {(-2,): 0, (-1,): 1, (-2, -1): -1}
"""Axes -> OpenCV's code for the flip along them."""
_MAX_FLIPPED_CHANNELS = 128
"""Channels of bytes up to which every OpenCV flips; some allow 512 (CV_CN_MAX), 5 only 128."""


class SlotLayout(NamedTuple):
    """Number, size and type of slots.

    Attributes:
        num_slots: N.
        channels: C.
        shape: (H, W) in pixels.
        dtype: uint8 or float32.
    """

    num_slots: int
    channels: int
    shape: tuple[int, int]
    dtype: torch.dtype

    @property
    def num_bytes(self) -> int:
        """Bytes of all slots."""
        return self.num_slots * self.channels * self.shape[0] * self.shape[1] * self.dtype.itemsize

    def arrange(self, memory: Tensor) -> Tensor:
        """Return the slots [N, C, H, W] in memory, uint8 [B] with B at least `num_bytes`, without setting them."""
        numbers = memory[: self.num_bytes].view(self.dtype)
        if self.dtype == torch.uint8:
            return numbers.view(self.num_slots, *self.shape, self.channels).permute(0, 3, 1, 2)
        return numbers.view(self.num_slots, self.channels, *self.shape)


def allocate_slots(layout: SlotLayout) -> Tensor:
    """Allocate slots [N, C, H, W], unset."""
    return layout.arrange(torch.empty(layout.num_bytes, dtype=torch.uint8))


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
    if flipped_axes and image.dtype == torch.uint8 == slot.dtype and len(image) <= _MAX_FLIPPED_CHANNELS:
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
