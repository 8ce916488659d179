"""What an image file is like: read before it is packed, so that training meets only images that decode."""

import os
import re
import tempfile
from collections.abc import Callable
from pathlib import PurePath
from typing import NamedTuple

from PIL import ExifTags, Image

from lightning_rcnn.data.decode import FORMAT_EXTENSIONS, UndecodableImage, decode_image, open_image
from lightning_rcnn.data.pack.defects import Defect

Size = tuple[int, int]
"""(width, height) in pixels."""

FILE_SUFFIXES = {extension: {f".{extension}"} for extension in FORMAT_EXTENSIONS.values()}
"""The suffixes under which the files of a format go."""
FILE_SUFFIXES["jpg"] |= {".jpeg", ".jpe", ".jfif"}
FILE_SUFFIXES["tif"] |= {".tiff"}
FILE_SUFFIXES["ppm"] |= {".pgm", ".pbm", ".pnm"}
IMAGE_SUFFIXES = frozenset[str]().union(*FILE_SUFFIXES.values())


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
        raise RejectedImageError(Defect.UNREADABLE_IMAGE, str(error)) from error
    extension = FORMAT_EXTENSIONS[header.format or ""]
    try:
        (_, height, width), warning = _watching_libjpeg(lambda: decode_image(data, apply_exif=True).shape)
    except UndecodableImage as error:
        raise RejectedImageError(Defect.TRUNCATED_IMAGE, str(error)) from error
    if "premature end" in warning.lower():
        raise RejectedImageError(Defect.TRUNCATED_IMAGE, warning)
    defects = [*_name_defects(file_name, extension), *_mode_defects(header, data)]
    if warning:
        defects.append(Defect.CORRUPT_JPEG)
    stored = header.size
    if header.format == "TIFF":  # its orientation is applied by every decoder
        stored = (width, height)
    elif Image.Image.getexif(header).get(ExifTags.Base.Orientation) in range(2, 9):  # PNG's own would decode again
        defects.append(Defect.EXIF_APPLIED)
    return Picture(extension, stored, (width, height), defects)


def _name_defects(file_name: str, extension: str) -> list[Defect]:
    path = PurePath(file_name)
    defects = []
    if path.suffix.lower() not in FILE_SUFFIXES[extension]:
        defects.append(Defect.WRONG_EXTENSION)
    if "." in path.stem or re.search(r"\s", file_name):
        defects.append(Defect.UNUSUAL_NAME)
    return defects


def _mode_defects(header: Image.Image, data: bytes) -> list[Defect]:
    """What decoding has to convert. Pillow gives the mode of an RGB PNG of 16 bits as RGB, so its header is asked."""
    is_sixteen_bit = header.mode.startswith("I") or (header.format == "PNG" and data[24] == 16)
    conditions = {
        Defect.GREY_IMAGE: header.mode in ("1", "L", "LA") or header.mode.startswith("I"),
        Defect.ALPHA_CHANNEL: header.mode in ("LA", "RGBA", "PA") or "transparency" in header.info,
        Defect.PALETTE_IMAGE: header.mode in ("P", "PA"),
        Defect.SIXTEEN_BIT_IMAGE: is_sixteen_bit,
        Defect.CMYK_IMAGE: header.mode == "CMYK",
        Defect.SEVERAL_FRAMES: header.format != "MPO" and getattr(header, "n_frames", 1) > 1,
    }
    return [defect for defect, holds in conditions.items() if holds]


def _watching_libjpeg(decode: Callable[[], tuple[int, ...]]) -> tuple[tuple[int, ...], str]:
    """Run `decode`; return its result and what libjpeg printed meanwhile, on one line.

    A JPEG whose data end too early but whose end marker is there decodes without an error: libjpeg fills the rest with
    grey, and prints a warning to the standard error stream of the process. No library passes that warning on, so it is
    read from the stream. Whatever else arrives there is passed on.
    """
    with tempfile.TemporaryFile() as caught:
        original = os.dup(2)
        os.dup2(caught.fileno(), 2)
        try:
            shape = decode()
        finally:
            os.dup2(original, 2)
            os.close(original)
        caught.seek(0)
        lines = caught.read().decode(errors="replace").splitlines()
    warnings = [line for line in lines if "JPEG" in line]
    for line in lines:
        if line not in warnings:
            os.write(2, f"{line}\n".encode())
    return shape, "; ".join(warnings)
