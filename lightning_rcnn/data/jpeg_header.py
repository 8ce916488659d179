"""Read the header of a plain JPEG, without Pillow, which takes ten times as long."""

from struct import Struct
from typing import NamedTuple

import simplejpeg

JPEG_BEGINNING = b"\xff\xd8\xff"
SEGMENT = Struct(">BBH")
"""The beginning of a segment: a byte of ones, its kind, and its length from there on."""
_APP1, _START_OF_SCAN = 0xE1, 0xDA


class PlainJpeg(NamedTuple):
    """What the header of a JPEG says that is displayed as it is stored, as nearly all are.

    Attributes:
        height, width: size in pixels.
        is_gray: whether it has one channel.
    """

    height: int
    width: int
    is_gray: bool


def plain_jpeg(data: bytes, *, apply_exif: bool = True) -> PlainJpeg | None:
    """Read the header of a gray or color JPEG; None for other files, and for damaged ones.

    Args:
        data: content of the file.
        apply_exif: whether the EXIF orientation matters; then a file with EXIF data is not plain.
    """
    if not data.startswith(JPEG_BEGINNING) or (apply_exif and _may_have_exif(data)):
        return None
    try:
        height, width, colors, _ = simplejpeg.decode_jpeg_header(data)
    except (ValueError, KeyError):  # damaged, or a subsampling that simplejpeg has no name for
        return None
    return None if colors in ("CMYK", "YCCK") else PlainJpeg(height, width, colors == "Gray")


def _may_have_exif(data: bytes) -> bool:
    """Return whether a JPEG has an EXIF segment before the pixels, or segments that cannot be followed."""
    position = len(JPEG_BEGINNING) - 1
    while position + SEGMENT.size <= len(data):
        mark, kind, length = SEGMENT.unpack_from(data, position)
        if mark != 0xFF or (kind == _APP1 and data.startswith(b"Exif", position + SEGMENT.size)):
            return True
        if kind == _START_OF_SCAN:
            return False
        position += 2 + length
    return True
