"""Read the header of a plain JPEG, without Pillow, which takes ten times as long."""

from typing import NamedTuple

import simplejpeg

JPEG_BEGINNING = b"\xff\xd8\xff"


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
    while data[position : position + 1] == b"\xff":
        marker = data[position + 1 : position + 2]
        if marker == b"\xda":  # the pixels
            return False
        if marker == b"\xe1" and data.startswith(b"Exif", position + 4):
            return True
        position += 2 + int.from_bytes(data[position + 2 : position + 4])
    return True
