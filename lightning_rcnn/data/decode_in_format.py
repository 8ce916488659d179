"""Decode image files to the numbers from 0 to 255 that the pixel format of their data set defines."""

import numpy as np
import torch
from torch import Tensor

from lightning_rcnn.data.decode import UnsupportedImage, decode_pixels
from lightning_rcnn.data.decoded_image import DecodedImage, decode_with_damage
from lightning_rcnn.data.pixel_format import PixelFormat
from lightning_rcnn.data.stored_pixels import read_stored, stored_layout

WHITE = 255.0


def decode_in_format(
    data: bytes, pixels: PixelFormat, *, apply_exif: bool, room: np.ndarray | None = None
) -> DecodedImage:
    """Decode an image file to the channels and the range of a pixel format.

    Args:
        data: content of the file.
        pixels: format of the data set.
        apply_exif: whether to rotate and mirror the image by its EXIF orientation.
        room: memory for RGB of 8 bits; see `decode_with_damage`.

    Returns:
        Pixels [C, h, w], uint8 or float32, 0 to 255; for RGB of 8 bits the result of `decode_with_damage`.

    Raises:
        UndecodableImage: not an image, or a damaged one.
        UnsupportedImage: channels or type differ from those of the format.
    """
    if pixels.is_rgb:
        return decode_with_damage(data, apply_exif=apply_exif, room=room)
    layout = stored_layout(data)
    if layout.kind == "uint8" and layout.extension == "jpg":  # libjpeg-turbo reports damage
        stored, damage = decode_pixels(data, apply_exif=apply_exif)
        return DecodedImage(in_format(stored[..., : layout.channels], pixels), damage)
    values = read_stored(data, apply_exif=apply_exif)
    if layout.has_alpha and values.shape[2] != pixels.channels:
        values = values[..., :-1]
    return DecodedImage(in_format(values, pixels), damage="")


def in_format(values: np.ndarray, pixels: PixelFormat) -> Tensor:
    """Convert stored values to the numbers of a pixel format.

    Args:
        values: [h, w, C] as stored; one channel becomes three equal ones where the format has three.
        pixels: format.

    Returns:
        [C, h, w], channels last in memory; uint8 if the format is of 8 bits, else float32, 0 to 255.

    Raises:
        UnsupportedImage: channels or type differ from those of the format.
    """
    channels = values.shape[2]
    if channels != pixels.channels and (channels, pixels.channels) != (1, 3):
        raise UnsupportedImage(
            f"{channels} channel{'s' * (channels > 1)}, but {pixels.channels} in the data set; give images of "
            f"{pixels.layout}"
        )
    if values.dtype != pixels.kind:
        raise UnsupportedImage(f"values of {values.dtype}, but {pixels.kind} in the data set; give {pixels.layout}")
    if pixels.is_eight_bit:
        scaled = np.ascontiguousarray(values)
    else:
        low, high = np.array(pixels.low), np.array(pixels.high)
        exact = np.float64 if values.dtype.kind in "iu" and values.dtype.itemsize > 2 else np.float32
        scaled = (values.astype(exact) - low.astype(exact)).astype(np.float32)
        scaled *= (WHITE / (high - low)).astype(np.float32)
        np.nan_to_num(scaled, copy=False, nan=0.0, posinf=0.0, neginf=0.0)
        np.clip(scaled, 0, WHITE, out=scaled)
    if channels != pixels.channels:
        scaled = np.repeat(scaled, pixels.channels, axis=2)
    return torch.from_numpy(scaled).permute(2, 0, 1)
