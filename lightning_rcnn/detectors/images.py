"""Conversion of files, PIL images, arrays and tensors to the tensors that a detector takes."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from lightning_rcnn.data.decode import rgb_pixels
from lightning_rcnn.data.decode_in_format import decode_in_format, in_format
from lightning_rcnn.data.pixel_format import RGB, PixelFormat
from lightning_rcnn.errors import InputError

ImageLike = str | Path | Image.Image | np.ndarray | Tensor
"""A file, a PIL image, an array [h, w], [h, w, 1], [h, w, 3] or [h, w, 4], or a tensor [3, h, w]; uint8, RGB.

A file is turned by its EXIF orientation. A PIL image is taken as it is, so that boxes are in its own pixels; apply
`PIL.ImageOps.exif_transpose` first to turn it.
"""


def as_images(images: Any, pixels: PixelFormat = RGB) -> list[Tensor]:
    """Convert one image, or a list of them, to tensors [C, h, w] of a pixel format, 0 to 255; uint8 RGB [3, h, w].

    Args:
        images: an `ImageLike`, or several in a list, tuple or batch [N, C, h, w].
        pixels: pixel format; arrays, tensors and PIL images have values as its files.

    Raises:
        InputError: an item is not an image; the message names it.
    """
    is_one_array = isinstance(images, (np.ndarray, Tensor)) and images.ndim <= 3
    if is_one_array or isinstance(images, (str, Path, Image.Image)) or not isinstance(images, Iterable):
        images = [images]
    return [_as_image(image, number, pixels) for number, image in enumerate(images)]


def _as_image(image: Any, number: int, pixels: PixelFormat) -> Tensor:
    converted = _as_rgb(image, number) if pixels.is_rgb else _as_format(image, number, pixels)
    if converted.numel() == 0:
        raise InputError(f"image {number}: {tuple(converted.shape)} has no pixels")
    return converted


def _as_format(image: Any, number: int, pixels: PixelFormat) -> Tensor:
    if isinstance(image, (str, Path)):
        return _decoded(image, pixels)
    try:
        values = np.moveaxis(image.numpy(), 0, -1) if isinstance(image, Tensor) else np.asarray(image)
        return in_format(values[..., None] if values.ndim == 2 else values, pixels)
    except (OSError, TypeError, ValueError, IndexError) as error:
        raise InputError(f"image {number}: {error}") from error


def _decoded(path: str | Path, pixels: PixelFormat) -> Tensor:
    if Path(path).is_dir():
        raise InputError(f"{path}: a folder; give its files, or use `lightning-rcnn detect --images {path}`")
    try:
        return decode_in_format(Path(path).read_bytes(), pixels, apply_exif=True).pixels
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: cannot be read as an image ({error})") from error


def _as_rgb(image: Any, number: int) -> Tensor:
    if isinstance(image, (str, Path)):
        return _decoded(image, RGB)
    if isinstance(image, Image.Image):
        try:
            return _channels_first(rgb_pixels(image))
        except (OSError, ValueError) as error:
            raise InputError(f"image {number}: cannot be read ({error})") from error
    if isinstance(image, np.ndarray):
        if image.dtype != np.uint8 or image.ndim not in (2, 3) or (image.ndim == 3 and image.shape[2] not in (1, 3, 4)):
            raise InputError(
                f"image {number}: array of {image.dtype} {image.shape}; give uint8 [height, width, 3], RGB"
            )
        pixels = image[..., None] if image.ndim == 2 else image[..., :3]
        return _channels_first(np.repeat(pixels, 3, axis=2) if pixels.shape[2] == 1 else pixels)
    if not isinstance(image, Tensor):
        raise InputError(f"image {number}: {type(image).__name__}; give a file, a PIL image, an array or a tensor")
    if image.dtype != torch.uint8 or image.ndim != 3 or image.shape[0] != 3:
        raise InputError(f"image {number}: {image.dtype} {tuple(image.shape)}; give uint8 [3, height, width], RGB")
    return image


def _channels_first(pixels: np.ndarray) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(pixels)).permute(2, 0, 1)
