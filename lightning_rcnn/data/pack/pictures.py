"""What an image file is like: read before it is packed, so that training meets only images that decode."""

import re
from collections.abc import Sequence
from pathlib import PurePath
from typing import NamedTuple

from PIL import Image, TiffImagePlugin
from PIL.TiffImagePlugin import TiffImageFile
from torch import Tensor

from lightning_rcnn.data.decode import (
    TruncatedImage,
    UndecodableImage,
    UnsupportedImage,
    decode_with_damage,
    exif_orientation,
    open_image,
)
from lightning_rcnn.data.defects import Defect
from lightning_rcnn.data.image_formats import FORMATS

Size = tuple[int, int]
"""(width, height) in pixels."""

_DARK = 16
"""Upper bytes of 16 bits are below this where the values have 12 bits or fewer."""


class Picture(NamedTuple):
    """An image file that decodes.

    Attributes:
        extension: by content.
        stored: size of the pixels as they are stored.
        shown: size after the EXIF orientation.
        defects: what is odd about the file.
    """

    extension: str
    stored: Size
    shown: Size
    defects: list[Defect]


class RejectedImageError(Exception):
    """The image cannot be packed."""

    def __init__(self, defect: Defect, reason: str) -> None:
        super().__init__(reason)
        self.defect = defect


def examine_image(data: bytes, file_name: str) -> Picture:
    """Decode an image file wholly and say what it is like.

    Raises:
        RejectedImageError: no image, or one of which a part is missing.
    """
    try:
        header = open_image(data)
    except UndecodableImage as error:
        raise RejectedImageError(_rejection(error, Defect.UNREADABLE_IMAGE), str(error)) from error
    image_format = FORMATS[header.format or ""]
    try:
        pixels, damage = decode_with_damage(data, apply_exif=True)
    except UndecodableImage as error:
        raise RejectedImageError(_rejection(error, Defect.DAMAGED_IMAGE), str(error)) from error
    try:
        mode_defects = _mode_defects(header, data, pixels)
    except Exception as error:  # Pillow reads some tags and later frames only now, and raises what it likes
        raise RejectedImageError(
            Defect.DAMAGED_IMAGE, "the tags, or a frame after the first one, are damaged"
        ) from error
    defects = [*_name_defects(file_name, image_format.suffixes), *mode_defects]
    if damage:
        defects.append(Defect.CORRUPT_JPEG)
    height, width = pixels.shape[-2:]
    stored = header.size
    if header.format == "TIFF":  # its orientation is applied by every decoder
        stored = (width, height)
    elif exif_orientation(header) != 1:
        defects.append(Defect.EXIF_APPLIED)
    return Picture(image_format.extension, stored, (width, height), defects)


def _rejection(error: UndecodableImage, otherwise: Defect) -> Defect:
    if isinstance(error, UnsupportedImage):
        return Defect.UNSUPPORTED_IMAGE
    return Defect.TRUNCATED_IMAGE if isinstance(error, TruncatedImage) else otherwise


def _name_defects(file_name: str, suffixes: Sequence[str]) -> list[Defect]:
    path = PurePath(file_name)
    defects = []
    if path.suffix.lower() not in suffixes:
        defects.append(Defect.WRONG_EXTENSION)
    if "." in path.stem or re.search(r"\s", file_name):
        defects.append(Defect.UNUSUAL_NAME)
    return defects


def _mode_defects(header: Image.Image, data: bytes, pixels: Tensor) -> list[Defect]:
    """What decoding has to convert, and what it loses by that."""
    is_sixteen_bit = _bits(header, data) > 8
    conditions = {
        Defect.GREY_IMAGE: header.mode in ("1", "L", "LA") or header.mode.startswith("I"),
        Defect.ALPHA_CHANNEL: header.mode in ("LA", "RGBA", "PA") or "transparency" in header.info,
        Defect.EXTRA_CHANNEL: header.mode == "RGB" and isinstance(header, TiffImageFile) and _tiff_channels(header) > 3,
        Defect.PALETTE_IMAGE: header.mode in ("P", "PA"),
        Defect.SIXTEEN_BIT_IMAGE: is_sixteen_bit,
        Defect.DARK_SIXTEEN_BIT_IMAGE: is_sixteen_bit and 0 < int(pixels.max()) < _DARK,
        Defect.CMYK_IMAGE: header.mode == "CMYK",
        Defect.SEVERAL_FRAMES: header.format != "MPO" and getattr(header, "n_frames", 1) > 1,
    }
    return [defect for defect, holds in conditions.items() if holds]


def _tiff_channels(header: TiffImageFile) -> int:
    return int(header.tag_v2.get(TiffImagePlugin.SAMPLESPERPIXEL, 1))


def _bits(header: Image.Image, data: bytes) -> int:
    """Of a channel, as stored; Pillow gives 16 bits in color the mode of 8, so the file is asked."""
    if header.format == "PNG":
        return data[24]
    if isinstance(header, TiffImageFile):
        return max(header.tag_v2.get(TiffImagePlugin.BITSPERSAMPLE, (1,)))
    return 16 if header.mode.startswith("I") else 8
