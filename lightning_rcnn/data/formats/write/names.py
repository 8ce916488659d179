"""File names for images: unique also without their suffixes, and safe in every system and format."""

import re
from pathlib import PurePosixPath

from lightning_rcnn.data.decode import UndecodableImage, open_image
from lightning_rcnn.data.image_formats import ARRAY, FORMATS, NAMED_SUFFIXES, is_array, is_tiff

_UNSAFE = re.compile(r'[\s<>:"|?*\x00-\x1f\x7f]+')
_RESERVED = ("classes", "labels", "annotations", "data")
"""Names of files that describe a whole data set."""


class UniqueNames:
    """Gives each image a file name: the last part of its name, with a number where another image has it.

    Formats pair images with files of the same name and another suffix, so names differ without their suffixes.
    """

    def __init__(self) -> None:
        self._taken = set(_RESERVED)

    def name(self, file_name: str, data: bytes) -> str:
        """Return the file name of an image.

        Args:
            file_name: name in the data set, perhaps with folders.
            data: bytes of the image file, which decide the suffix where the name has none of an image.
        """
        path = PurePosixPath(_UNSAFE.sub("_", last_part(file_name).strip()))
        suffix = path.suffix
        stem = path.name.removesuffix(suffix)
        if suffix.lower() not in NAMED_SUFFIXES:
            stem, suffix = path.name, _suffix_of(data)
        stem = stem.lstrip(".") or "image"
        candidate, number = stem, 1
        while candidate.casefold() in self._taken:
            number += 1
            candidate = f"{stem}-{number}"
        self._taken.add(candidate.casefold())
        return f"{candidate}{suffix}"


def last_part(file_name: str) -> str:
    """Return a name without its folders, also of Windows."""
    return file_name.replace("\\", "/").rpartition("/")[2]


def _suffix_of(data: bytes) -> str:
    if is_array(data):
        return ARRAY.suffixes[0]
    try:
        return f".{FORMATS[open_image(data).format or ''].extension}"
    except UndecodableImage:
        return ".tif" if is_tiff(data) else ".jpg"
