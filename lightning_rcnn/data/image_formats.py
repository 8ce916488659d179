"""The formats of images: which are read, under which suffixes, and what other files in a folder of images are."""

import re
from collections.abc import Iterable
from io import BytesIO
from typing import NamedTuple

from PIL import TiffImagePlugin


class Format(NamedTuple):
    """A format that is read.

    Attributes:
        extension: of its files in a shard.
        suffixes: under which its files are found.
        beginning: pattern of the first bytes.
    """

    extension: str
    suffixes: tuple[str, ...]
    beginning: bytes


_JPEG = Format("jpg", (".jpg", ".jpeg", ".jpe", ".jfif", ".mpo"), rb"\xff\xd8\xff")
FORMATS = {
    "JPEG": _JPEG,
    "MPO": _JPEG,  # what many phones write: a JPEG with more pictures behind it
    "PNG": Format("png", (".png", ".apng"), rb"\x89PNG"),
    "BMP": Format("bmp", (".bmp", ".dib"), rb"BM"),
    "GIF": Format("gif", (".gif",), rb"GIF8"),
    "JPEG2000": Format("jp2", (".jp2", ".j2k", ".j2c", ".jpc", ".jpf", ".jpx"), rb"\xff\x4f\xff\x51|\0\0\0\x0cjP  "),
    "PPM": Format("ppm", (".ppm", ".pgm", ".pbm", ".pnm"), rb"P[1-7fF]\s"),
    "TIFF": Format("tif", (".tif", ".tiff"), rb"II[*+]\0|MM\0[*+]"),
    "WEBP": Format("webp", (".webp",), rb"RIFF....WEBP"),
    "AVIF": Format("avif", (".avif", ".avifs"), rb"....ftypavi[fs]"),
}
"""By Pillow's names."""
IMAGE_SUFFIXES = frozenset(suffix for image_format in FORMATS.values() for suffix in image_format.suffixes)
"""The suffixes under which all commands look for images in folders; the case of letters does not matter."""

_UNREAD_KINDS = (
    (rb"....ftyp(hei[cxms]|hev[cxms]|mif1|msf1)", "a HEIC image"),
    (rb"....ftypcrx |IIRO|IIU\0|FUJIFILMCCD-RAW", "a camera's raw image"),
    (rb"\xff\x0a|\0\0\0\x0cJXL ", "a JPEG XL image"),
    (rb"8BPS", "a Photoshop document"),
    (rb"v/1\x01|#\?RADIANCE", "an image of high dynamic range"),
    (rb"qoif|\0\0[\x01\x02]\0|DDS |gimp xcf", "an icon, a texture or a drawing program's file"),
    (rb".{128}DICM", "a DICOM image"),
    (rb"\s*<(\?xml|svg)", "an SVG drawing or another XML file"),
    (rb"%PDF|%!PS", "a PDF or PostScript document"),
)
"""Beginnings of images that are not read, and what they are."""
_NO_IMAGES = (
    (rb"....(ftyp|moov|mdat)|\x1aE\xdf\xa3|RIFF....AVI |\0\0\x01[\xba\xb3]", "a video; extract its frames first"),
    (rb"\0\x05\x16\x07", "no image but what macOS writes beside one; delete it"),
    (rb"version https://git-lfs", "a pointer of Git LFS in place of the image; run `git lfs pull`"),
    (rb"\s*<(!doctype html|html)", "an HTML page, as a failed download leaves it; fetch the image again"),
    (rb"\x93NUMPY|PK\x03\x04|\x1f\x8b|\x89HDF|7z\xbc\xaf|Rar!", "an array or an archive; extract its images first"),
    (rb"\0*$", "empty or nothing but zeros, as an interrupted copy leaves it; fetch the image again"),
)
"""Beginnings of what else lies in folders of images, and what is said about it; the first that fits counts."""


def unread_kind(data: bytes) -> str:
    """What image a file is that is none of `FORMATS`; empty where that is unknown."""
    return _tiff_layout(data) or _described(data, _UNREAD_KINDS)


def describe_unidentified(data: bytes) -> str:
    """Why a file cannot be opened that is no image as far as its bytes tell, and the way out."""
    for name, known in FORMATS.items():
        if re.match(known.beginning, data, re.DOTALL):
            return f"the header of the {name} file is damaged or cut off"
    return _described(data, _NO_IMAGES) or "not an image of a known format"


def _described(data: bytes, table: Iterable[tuple[bytes, str]]) -> str:
    start = data[:256]
    return next((text for beginning, text in table if re.match(beginning, start, re.DOTALL | re.IGNORECASE)), "")


def _tiff_layout(data: bytes) -> str:
    """A TIFF by the number and depth of its channels; empty if it is none, or its tags are damaged."""
    try:
        is_big = 43 in data[2:4]  # BigTIFF, by its version
        tags = TiffImagePlugin.ImageFileDirectory_v2(data[: 16 if is_big else 8])
        stream = BytesIO(data)
        stream.seek(tags.next)
        tags.load(stream)
        channels = int(tags.get(TiffImagePlugin.SAMPLESPERPIXEL, 1))
        bits = max(map(int, tags[TiffImagePlugin.BITSPERSAMPLE]))
    except Exception:  # damaged tags raise anything
        return ""
    return f"a TIFF of {channels} channel{'s' * (channels > 1)} of {bits} bits"
