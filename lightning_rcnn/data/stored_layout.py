"""Channels and type of the pixels in a file."""

from typing import NamedTuple, cast

import numpy as np

from lightning_rcnn.data.decode import (
    UnsupportedImage,
)
from lightning_rcnn.data.pixel_format import KINDS, PixelKind


class StoredLayout(NamedTuple):
    """Channels and type of the pixels in a file.

    Attributes:
        extension: extension by the file's content, without a dot.
        channels: number of channels without transparency.
        kind: type of the values.
        has_alpha: whether a channel of transparency follows them.
        becomes_rgb: whether `decode_pixels` converts the file to RGB.
        is_pillows: whether Pillow reads all channels unchanged.
        has_more: whether more images follow in the file.
        is_series: whether its pages are one image.
    """

    extension: str
    channels: int
    kind: PixelKind
    has_alpha: bool = False
    becomes_rgb: bool = True
    is_pillows: bool = True
    has_more: bool = False
    is_series: bool = False

    @property
    def is_plain(self) -> bool:
        """Whether RGB of 8 bits holds all of it but the transparency."""
        return self.kind == "uint8" and self.channels in (1, 3)


def kind_of(dtype: str) -> PixelKind:
    """Return the type in which values of a type of numpy are kept.

    Raises:
        UnsupportedImage: none holds them.
    """
    kind = "float32" if dtype in ("float16", "float64") else dtype
    if kind not in KINDS:
        raise UnsupportedImage(f"pixels of {dtype}; store them as one of {', '.join(KINDS)}")
    return cast(PixelKind, kind)


def shortest_last(pixels: np.ndarray) -> np.ndarray:
    """Return [h, w, C] of an array [h, w], [h, w, C], or [C, h, w] with fewest channels."""
    if pixels.ndim == 2:
        return pixels[..., None]
    return np.moveaxis(pixels, 0, -1) if pixels.shape[0] < min(pixels.shape[1:]) else pixels
