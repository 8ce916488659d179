"""Decode image files to uint8 RGB tensors; `decode.py` has the rules."""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from lightning_rcnn.data.decode import decode_pixels


class DecodedImage(NamedTuple):
    """A decoded image file.

    Attributes:
        pixels: uint8 [3, height, width], RGB; channels last in memory, as decoders write and as resizing is fastest.
        damage: the decoder's report of damage although no pixel is missing; empty for a sound file.
    """

    pixels: Tensor
    damage: str


def decode_image(data: bytes, *, apply_exif: bool) -> Tensor:
    """Decode an image file; see `decode_with_damage`.

    Returns:
        uint8 [3, height, width], RGB.
    """
    return decode_with_damage(data, apply_exif=apply_exif).pixels


def decode_with_damage(data: bytes, *, apply_exif: bool, room: np.ndarray | None = None) -> DecodedImage:
    """Decode an image file and report its damage; see `decode_pixels` for arguments and errors."""
    pixels, damage = decode_pixels(data, apply_exif=apply_exif, room=room)
    return DecodedImage(torch.from_numpy(pixels).permute(2, 0, 1), damage)
