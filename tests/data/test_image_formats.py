import struct

import pytest
from PIL import Image

from lightning_rcnn.data.decode import UndecodableImage, UnsupportedImage, open_image
from lightning_rcnn.data.image_formats import FORMATS, IMAGE_SUFFIXES


def test_every_suffix_that_pillow_writes_a_format_under_is_looked_for():
    Image.init()
    written = {suffix for suffix, name in Image.EXTENSION.items() if name in FORMATS and suffix != ".pfm"}
    assert written <= IMAGE_SUFFIXES


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"8BPS\0\1", "a Photoshop document, which is not supported; convert it to JPEG or PNG first"),
        (b"<?xml version='1.0'?><svg/>", "an SVG drawing or another XML file, which is not supported"),
        (bytes(128) + b"DICM", "a DICOM image, which is not supported"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n", "a PDF or PostScript document, which is not supported"),
    ],
)
def test_images_of_other_kinds_are_called_by_their_names(data, reason):
    with pytest.raises(UnsupportedImage, match=f"^{reason}"):
        open_image(data)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "empty or only zeros"),
        (bytes(5000), "empty or only zeros"),
        (b"\0\0\0\x18ftypmp42\0\0\0\0", "a video; extract its frames first"),
        (b"\0\5\26\7\0\2\0\0", "a metadata file of macOS, not an image; delete it"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "a Git LFS pointer instead of the image"),
        (b"\n<!DOCTYPE html><html>", "an HTML page, as after a failed download"),
        (b"PK\3\4", "an array or an archive"),
        (b"\x89PNG\r\n\x1a\nrubbish", "the header of the PNG file is damaged or cut off"),
        (b"RIFF\1\0\0\0WEBP", "the header of the WEBP file is damaged or cut off"),
        (b"\xff\xd8\xff", "the header of the JPEG file is damaged or cut off"),
        (b"hello", "not an image of a known format"),
    ],
)
def test_what_is_no_image_is_described(data, reason):
    with pytest.raises(UndecodableImage, match=f"^{reason}") as caught:
        open_image(data)
    assert not isinstance(caught.value, UnsupportedImage)


def tiff(entries, is_big):
    """A TIFF of one directory: {tag: numbers of 16 bits}, by the specification."""
    width, count, pointer = (20, "<Q", "<Q") if is_big else (12, "<H", "<I")
    header = b"II+\0\x08\0\0\0" if is_big else b"II*\0"
    offset = len(header) + struct.calcsize(pointer)
    behind = offset + struct.calcsize(count) + width * len(entries) + struct.calcsize(pointer)
    directory, values = struct.pack(count, len(entries)), b""
    for tag, numbers in sorted(entries.items()):
        packed = struct.pack(f"<{len(numbers)}H", *numbers)
        size = struct.calcsize(pointer)
        if len(packed) > size:
            position, values = behind + len(values), values + packed
            packed = struct.pack(pointer, position)
        directory += struct.pack("<HH", tag, 3) + struct.pack(pointer, len(numbers)) + packed.ljust(size, b"\0")
    return header + struct.pack(pointer, offset) + directory + bytes(size) + values + bytes(1000)


@pytest.mark.parametrize("is_big", [False, True])
def test_a_tiff_of_five_channels_is_described(is_big):
    entries = {256: [4], 257: [4], 258: [16] * 5, 259: [1], 262: [1], 273: [8], 277: [5], 278: [4], 279: [160]}
    with pytest.raises(UnsupportedImage, match=r"^a TIFF of 5 channels of 16 bits, which is not supported; convert it"):
        open_image(tiff(entries, is_big))
