"""The supported image formats and their suffixes, and descriptions of other files in image folders."""

import re
from collections.abc import Iterable
from io import BytesIO
from pathlib import PurePath
from typing import NamedTuple

from PIL import TiffImagePlugin
from PIL.TiffImagePlugin import ImageFileDirectory_v2


class Format(NamedTuple):
    """A supported format.

    Attributes:
        extension: extension of its files in a shard, without a dot.
        suffixes: suffixes of its files in a folder.
        beginning: pattern of the first bytes.
    """

    extension: str
    suffixes: tuple[str, ...]
    beginning: bytes


HEIF = "HEIF"
"""Name of the format that Pillow reads with a plug-in."""
_JPEG = Format("jpg", (".jpg", ".jpeg", ".jpe", ".jfif", ".mpo"), rb"\xff\xd8\xff")
FORMATS = {
    "JPEG": _JPEG,
    "MPO": _JPEG,  # written by many phones: a JPEG followed by further images
    "PNG": Format("png", (".png", ".apng"), rb"\x89PNG"),
    "BMP": Format("bmp", (".bmp", ".dib"), rb"BM"),
    "GIF": Format("gif", (".gif",), rb"GIF8"),
    "JPEG2000": Format("jp2", (".jp2", ".j2k", ".j2c", ".jpc", ".jpf", ".jpx"), rb"\xff\x4f\xff\x51|\0\0\0\x0cjP  "),
    "PPM": Format("ppm", (".ppm", ".pgm", ".pbm", ".pnm"), rb"P[1-7fF]\s"),
    "TIFF": Format("tif", (".tif", ".tiff"), rb"II[*+]\0|MM\0[*+]"),
    "WEBP": Format("webp", (".webp",), rb"RIFF....WEBP"),
    "AVIF": Format("avif", (".avif", ".avifs"), rb"....ftypavi[fs]"),
    HEIF: Format("heic", (".heic", ".heif", ".hif", ".heics", ".heifs"), rb"....ftyp(hei[cxms]|hev[cxms]|mif1|msf1)"),
}
"""Supported formats by Pillow's names."""
ARRAY = Format("npy", (".npy",), rb"\x93NUMPY")
"""numpy's files of one array."""
IMAGE_SUFFIXES = frozenset(suffix for image_format in FORMATS.values() for suffix in image_format.suffixes)
"""Suffixes by which all commands find images in folders, in any case."""
NAMED_SUFFIXES = IMAGE_SUFFIXES | {*ARRAY.suffixes}
"""Suffixes of images that an annotation file names."""

_UNSUPPORTED_KINDS = (
    (rb"....ftypcrx |IIRO|IIU\0|FUJIFILMCCD-RAW", "a camera's raw image"),
    (rb"\xff\x0a|\0\0\0\x0cJXL ", "a JPEG XL image"),
    (rb"8BPS", "a Photoshop document"),
    (rb"v/1\x01|#\?RADIANCE", "a high-dynamic-range image"),
    (rb"qoif|\0\0[\x01\x02]\0|DDS |gimp xcf", "an icon, a texture or a drawing program's file"),
    (rb".{128}DICM", "a DICOM image"),
    (rb"\s*<(\?xml|svg)", "an SVG drawing or another XML file"),
    (rb"%PDF|%!PS", "a PDF or PostScript document"),
)
"""Patterns of the first bytes of images that are not supported, and their descriptions."""
_NO_IMAGES = (
    (rb"....(ftyp|moov|mdat)|\x1aE\xdf\xa3|RIFF....AVI |\0\0\x01[\xba\xb3]", "a video; extract its frames first"),
    (rb"\0\x05\x16\x07", "a metadata file of macOS, not an image; delete it"),
    (rb"version https://git-lfs", "a Git LFS pointer instead of the image; run `git lfs pull`"),
    (rb"\s*<(!doctype html|html)", "an HTML page, as after a failed download; download the image again"),
    (rb"\x93NUMPY|PK\x03\x04|\x1f\x8b|\x89HDF|7z\xbc\xaf|Rar!", "an array or an archive; extract its images first"),
    (rb"\0*$", "empty or only zeros, as after an interrupted copy; copy the image again"),
)
"""Patterns of the first bytes of other files in image folders, and their descriptions; the first match counts."""


def images_among(files: Iterable[str]) -> list[str]:
    """Return the files that are named like images; arrays only if nothing else is.

    Tools keep copies and masks as arrays beside images.
    """
    named = [file for file in files if PurePath(file).suffix.lower() in NAMED_SUFFIXES]
    return [file for file in named if PurePath(file).suffix.lower() in IMAGE_SUFFIXES] or named


def is_array(data: bytes) -> bool:
    """Whether a file is one of numpy's."""
    return re.match(ARRAY.beginning, data) is not None


def is_heic(data: bytes) -> bool:
    """Whether a file begins as an image of HEIC, which phones write."""
    return re.match(FORMATS[HEIF].beginning, data, re.DOTALL) is not None


def is_tiff(data: bytes) -> bool:
    """Whether a file begins as a TIFF."""
    return re.match(FORMATS["TIFF"].beginning, data) is not None


def unsupported_kind(data: bytes) -> str:
    """Describe an image of none of `FORMATS`; empty if unknown."""
    return _tiff_layout(data) or _described(data, _UNSUPPORTED_KINDS)


def describe_unidentified(data: bytes) -> str:
    """Describe a file that is not an image by its bytes, and say what to do."""
    for name, known in FORMATS.items():
        if re.match(known.beginning, data, re.DOTALL):
            return f"the header of the {name} file is damaged or cut off"
    return _described(data, _NO_IMAGES) or "not an image of a known format"


def _described(data: bytes, table: Iterable[tuple[bytes, str]]) -> str:
    start = data[:256]
    return next((text for beginning, text in table if re.match(beginning, start, re.DOTALL | re.IGNORECASE)), "")


def _tiff_layout(data: bytes) -> str:
    """Describe a TIFF by the number and depth of its channels; empty for other files and damaged tags."""
    try:
        tags = tiff_tags(data)
        channels = int(tags.get(TiffImagePlugin.SAMPLESPERPIXEL, 1))
        bits = max(map(int, tags[TiffImagePlugin.BITSPERSAMPLE]))
    except Exception:  # damaged tags raise anything
        return ""
    return f"a TIFF of {channels} channel{'s' * (channels > 1)} of {bits} bits"


def tiff_tags(data: bytes) -> ImageFileDirectory_v2:
    """Read the tags of the first image in a TIFF; damaged ones raise anything."""
    is_big = 43 in data[2:4]  # BigTIFF, by its version
    tags = ImageFileDirectory_v2(data[: 16 if is_big else 8])
    stream = BytesIO(data)
    stream.seek(tags.next)
    tags.load(stream)
    return tags
