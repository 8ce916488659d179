"""Inspect image files before they are packed, so that training gets only images that decode."""

import posixpath
import re
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from PIL import Image, TiffImagePlugin
from PIL.TiffImagePlugin import TiffImageFile

from lightning_rcnn.data.decode import (
    TruncatedImage,
    UndecodableImage,
    UnsupportedImage,
    decode_pixels,
    exif_orientation,
    has_few_pixels,
    open_image,
)
from lightning_rcnn.data.defects import Defect
from lightning_rcnn.data.image_formats import ARRAY, FORMATS, is_array, is_tiff
from lightning_rcnn.data.jpeg_header import plain_jpeg
from lightning_rcnn.data.pack.sound_jpeg import is_sound_jpeg
from lightning_rcnn.data.stored_pixels import read_stored, stored_layout

Size = tuple[int, int]
"""(width, height) in pixels."""

_FIRST_SIDEWAYS = 5
"""EXIF orientations from this one on exchange width and height."""
_SPACE = re.compile(r"\s")
_DARK = 16
"""The upper byte of a 16-bit value is below this if the value has at most 12 bits."""


class ImageInfo(NamedTuple):
    """Properties of an image file that decodes.

    Attributes:
        extension: extension by the file's content, without a dot.
        stored: size of the stored pixels.
        displayed: size after the EXIF orientation.
        defects: defects of the file.
    """

    extension: str
    stored: Size
    displayed: Size
    defects: list[Defect]


class RejectedImageError(Exception):
    """Raised when an image cannot be packed."""

    def __init__(self, defect: Defect, reason: str) -> None:
        super().__init__(reason)
        self.defect = defect


def inspect_image(data: bytes, file_name: str) -> ImageInfo:
    """Check an image file to its last pixel and return its properties.

    Raises:
        RejectedImageError: not an image, or an incomplete or damaged one.
    """
    if (plain := plain_jpeg(data)) is not None and has_few_pixels(plain.width, plain.height) and is_sound_jpeg(data):
        size = plain.width, plain.height
        defects = [*_name_defects(file_name, FORMATS["JPEG"].suffixes), *[Defect.GRAY_IMAGE] * plain.is_gray]
        return ImageInfo(FORMATS["JPEG"].extension, size, size, defects)
    try:
        layout = stored_layout(data) if is_array(data) or is_tiff(data) else None
        header = None if layout is not None and not layout.becomes_rgb else open_image(data)
    except UndecodableImage as error:
        raise RejectedImageError(_rejection(error, Defect.UNREADABLE_IMAGE), str(error)) from error
    if header is None or header.mode == "F":
        return _inspect_stored(data, file_name)
    image_format = FORMATS[header.format or ""]
    orientation = exif_orientation(header)
    pixels, damage = None, ""
    if image_format.extension == "jpg" and header.mode in ("L", "RGB") and is_sound_jpeg(data):
        width, height = header.size if orientation < _FIRST_SIDEWAYS else header.size[::-1]
    else:
        try:
            pixels, damage = decode_pixels(data, apply_exif=True)
        except UndecodableImage as error:
            raise RejectedImageError(_rejection(error, Defect.DAMAGED_IMAGE), str(error)) from error
        height, width = pixels.shape[:2]
    try:
        mode_defects = _mode_defects(header, data, pixels)
    except Exception as error:  # Pillow reads some tags and later frames only now, and raises anything
        raise RejectedImageError(
            Defect.DAMAGED_IMAGE, "the tags, or a frame after the first one, are damaged"
        ) from error
    defects = [*_name_defects(file_name, image_format.suffixes), *mode_defects]
    if damage:
        defects.append(Defect.CORRUPT_JPEG)
    stored = header.size
    if header.format == "TIFF":  # every decoder applies its orientation
        stored = (width, height)
    elif orientation != 1:
        defects.append(Defect.EXIF_APPLIED)
    return ImageInfo(image_format.extension, stored, (width, height), defects)


def _inspect_stored(data: bytes, file_name: str) -> ImageInfo:
    """Check an image that does not become RGB of 8 bits."""
    try:
        layout, pixels = stored_layout(data), read_stored(data, apply_exif=False)
    except UndecodableImage as error:
        raise RejectedImageError(_rejection(error, Defect.DAMAGED_IMAGE), str(error)) from error
    suffixes = next(one.suffixes for one in (*FORMATS.values(), ARRAY) if one.extension == layout.extension)
    defects = _name_defects(file_name, suffixes)
    if layout.has_more:
        defects.append(Defect.SEVERAL_FRAMES)
    if not np.isfinite(pixels).all():
        defects.append(Defect.NON_FINITE_PIXELS)
    size = pixels.shape[1], pixels.shape[0]
    return ImageInfo(layout.extension, size, size, defects)


def _rejection(error: UndecodableImage, otherwise: Defect) -> Defect:
    if isinstance(error, UnsupportedImage):
        return Defect.UNSUPPORTED_IMAGE
    return Defect.TRUNCATED_IMAGE if isinstance(error, TruncatedImage) else otherwise


def _name_defects(file_name: str, suffixes: Sequence[str]) -> list[Defect]:
    stem, suffix = posixpath.splitext(posixpath.basename(file_name))
    defects = []
    if suffix and suffix.lower() not in suffixes:
        defects.append(Defect.WRONG_EXTENSION)
    if "." in stem or _SPACE.search(file_name):
        defects.append(Defect.UNUSUAL_NAME)
    return defects


def _mode_defects(header: Image.Image, data: bytes, pixels: np.ndarray | None) -> list[Defect]:
    """Return the defects of the pixel format: conversions during decoding, and what they lose.

    Args:
        header: opened file.
        data: content of the file.
        pixels: decoded pixels; None for a plain JPEG.
    """
    is_sixteen_bit = _bits(header, data) > 8
    conditions = {
        Defect.GRAY_IMAGE: header.mode in ("1", "L", "LA") or header.mode.startswith("I"),
        Defect.ALPHA_CHANNEL: header.mode in ("LA", "RGBA", "PA") or "transparency" in header.info,
        Defect.EXTRA_CHANNEL: header.mode == "RGB" and isinstance(header, TiffImageFile) and _tiff_channels(header) > 3,
        Defect.PALETTE_IMAGE: header.mode in ("P", "PA"),
        Defect.SIXTEEN_BIT_IMAGE: is_sixteen_bit,
        Defect.DARK_SIXTEEN_BIT_IMAGE: is_sixteen_bit and pixels is not None and 0 < int(pixels.max()) < _DARK,
        Defect.CMYK_IMAGE: header.mode == "CMYK",
        Defect.SEVERAL_FRAMES: header.format != "MPO" and getattr(header, "n_frames", 1) > 1,
    }
    return [defect for defect, holds in conditions.items() if holds]


def _tiff_channels(header: TiffImageFile) -> int:
    return int(header.tag_v2.get(TiffImagePlugin.SAMPLESPERPIXEL, 1))


def _bits(header: Image.Image, data: bytes) -> int:
    """Return the stored bits per channel; Pillow's mode does not tell, as color of 8 and 16 bits has the same mode."""
    if header.format == "PNG":
        return data[24]
    if isinstance(header, TiffImageFile):
        return max(header.tag_v2.get(TiffImagePlugin.BITSPERSAMPLE, (1,)))
    return 16 if header.mode.startswith("I") else 8
