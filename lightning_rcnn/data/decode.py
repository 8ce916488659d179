"""Image files to uint8 RGB tensors, one rule for every kind of file.

| in the file | in the tensor |
|---|---|
| grey, black and white | the one channel three times |
| palette | the palette's colours; a transparent entry keeps its colour |
| alpha (RGBA, grey with alpha) | dropped: the colours as stored, blended with nothing |
| 16 bits a channel | the upper 8 bits, so the darkest and the brightest possible value stay what they are |
| CMYK, YCCK | converted without a colour profile |
| several frames (GIF, TIFF, animated PNG) | the first one |
| EXIF orientation 2-8 | applied or not, as asked; that of a TIFF is part of the format and always applied |

JPEG and PNG, nearly every file there is, go through torchvision's decoders, which are faster; the rest through Pillow.
"""

import re
from io import BytesIO

import numpy as np
import torch
import torchvision
from PIL import Image, ImageOps
from torch import Tensor

FORMAT_EXTENSIONS = {
    "JPEG": "jpg",
    "MPO": "jpg",  # what many phones write: a JPEG with more pictures behind it
    "PNG": "png",
    "BMP": "bmp",
    "GIF": "gif",
    "JPEG2000": "jp2",
    "PPM": "ppm",
    "TIFF": "tif",
    "WEBP": "webp",
}
"""The formats that are read, by Pillow's names, and the extension each gets in a shard."""

_OPENERS = [name for name in FORMAT_EXTENSIONS if name != "MPO"]
"""Pillow opens MPO as JPEG. Naming formats keeps out those for which it starts other programs, such as EPS."""
_JPEG_SIGNATURE = b"\xff\xd8\xff"
_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"


class UndecodableImage(ValueError):  # noqa: N818 - says what the image is
    """The bytes are no image that can be read to its end; the message is the decoder's reason."""


def decode_image(data: bytes, *, apply_exif: bool) -> Tensor:
    """Decode an image file.

    Args:
        data: the whole file.
        apply_exif: turn and mirror the image as its EXIF orientation says.

    Returns:
        uint8 [3, height, width], RGB; in memory mostly channels last, as decoders write and as resizing is quickest.

    Raises:
        UndecodableImage: not an image, of a kind that is not read, truncated.
    """
    if data.startswith((_JPEG_SIGNATURE, _PNG_SIGNATURE)):
        return _decode_by_torchvision(data, apply_exif)
    return _decode_by_pillow(data, apply_exif)


def open_image(data: bytes) -> Image.Image:
    """Read the header of an image file; the pixels stay undecoded.

    Raises:
        UndecodableImage: not an image of one of `FORMAT_EXTENSIONS`.
    """
    try:
        return Image.open(BytesIO(data), formats=_OPENERS)
    except Image.UnidentifiedImageError:
        raise UndecodableImage("not an image of a known format") from None
    except Exception as error:  # Pillow's plugins raise what they like on damaged headers
        raise UndecodableImage(_first_line(error)) from error


def _decode_by_torchvision(data: bytes, apply_exif: bool) -> Tensor:
    encoded = torch.frombuffer(bytearray(data), dtype=torch.uint8)
    try:
        image = torchvision.io.decode_image(encoded, mode="RGB", apply_exif_orientation=apply_exif)
    except RuntimeError as error:
        raise UndecodableImage(_first_line(error)) from error
    if image.dtype == torch.uint16:
        image = (image.to(torch.int32) >> 8).to(torch.uint8)
    return image


def _decode_by_pillow(data: bytes, apply_exif: bool) -> Tensor:
    image = open_image(data)
    try:
        if apply_exif:
            image = ImageOps.exif_transpose(image)
        pixels = _rgb_pixels(image)
    except UndecodableImage:
        raise
    except Exception as error:
        raise UndecodableImage(_first_line(error)) from error
    return torch.from_numpy(pixels).permute(2, 0, 1)


def _rgb_pixels(image: Image.Image) -> np.ndarray:
    """Uint8 [height, width, 3], in memory of its own."""
    if image.mode == "F":
        raise UndecodableImage("floating-point pixels have no range that is known")
    if image.mode.startswith("I"):
        grey = np.clip(np.asarray(image).astype(np.int64), 0, 0xFFFF) >> 8
        return np.repeat(grey.astype(np.uint8)[..., None], 3, axis=-1)
    return np.array(image.convert("RGB"))


def _first_line(error: Exception) -> str:
    """The decoder's own words, without the place in torchvision's sources that stands before them."""
    message = (str(error) or type(error).__name__).splitlines()[0]
    return re.sub(r"^.*\.cpp:\d+, ", "", message)
