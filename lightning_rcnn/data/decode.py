"""Image files to uint8 RGB tensors, one rule for every kind of file.

| in the file | in the tensor |
|---|---|
| grey, black and white | the one channel three times |
| palette | the palette's colors; a transparent entry keeps its color |
| alpha (RGBA, grey with alpha), a fourth channel of a TIFF | dropped: the colors as stored, blended with nothing |
| 16 bits a channel | the upper 8 bits, so the darkest and the brightest possible value stay what they are |
| integers outside 0..65535, floating point | refused: the range that means black to white is unknown |
| CMYK, YCCK | converted without a color profile |
| several frames (GIF, TIFF, animated PNG) | the first one |
| EXIF orientation 2-8 | applied or not, as asked; that of a TIFF is part of the format and always applied |
| pixels cut off, a checksum that does not hold | refused |
| more pixels than Pillow's limit of 178 956 970 | refused |

JPEG, nearly every file there is, goes through libjpeg-turbo, which is fast and says what it finds damaged; the rest
goes through Pillow. Both raise on damaged data; torchvision's decoder of PNG ends the process.
"""

import math
import re
import warnings
from collections.abc import Callable
from io import BytesIO
from typing import Literal, NamedTuple

import numpy as np
import simplejpeg
import torch
from PIL import ExifTags, Image
from torch import Tensor

from lightning_rcnn.data.image_formats import FORMATS, describe_unidentified, unread_kind

warnings.filterwarnings("ignore", module=r"PIL\.")  # they name no file; what matters in them is refused or noted

_OPENERS = [name for name in FORMATS if name != "MPO"]
"""Pillow opens MPO as JPEG. Naming formats keeps out those for which it starts other programs, such as EPS."""

_JPEG_BEGINNING = b"\xff\xd8\xff"
_TURNS: dict[int, Callable[[np.ndarray], np.ndarray]] = {
    2: lambda pixels: pixels[:, ::-1],
    3: lambda pixels: pixels[::-1, ::-1],
    4: lambda pixels: pixels[::-1],
    5: lambda pixels: pixels.swapaxes(0, 1),
    6: lambda pixels: pixels.swapaxes(0, 1)[:, ::-1],
    7: lambda pixels: pixels.swapaxes(0, 1)[::-1, ::-1],
    8: lambda pixels: pixels.swapaxes(0, 1)[::-1],
}
"""EXIF orientation -> the image as it is shown, of pixels [h, w, 3] as they are stored."""


_CUT_OFF = re.compile("truncated|premature end", re.IGNORECASE)
"""In the words of every decoder about data that end too early."""
_PLAINER = {
    r"^tj\w+\(\): ": "",
    r"^decoder error.*|.* when reading image file": "the compressed pixels are damaged",
    r"^failed to read next frame|^cannot load this image": "the compressed pixels are damaged",
    r"^could not create decoder object": "the file is damaged or cut off",
}
"""Patterns in the words of decoders that tell users nothing, and what is said in their place."""


class UndecodableImage(ValueError):  # noqa: N818 - says what the image is
    """The bytes are no image that can be read to its end; the message is the reason."""


class TruncatedImage(UndecodableImage):
    """The data end before the last pixel."""


class UnsupportedImage(UndecodableImage):
    """The file may be sound, but is of a kind that is not read; the message says of which, and the way out."""


class DecodedImage(NamedTuple):
    """An image file, decoded.

    Attributes:
        pixels: uint8 [3, height, width], RGB; in memory channels last, as decoders write and as resizing is quickest.
        damage: what the decoder found wrong although no pixel is missing; empty for a sound file.
    """

    pixels: Tensor
    damage: str


def decode_image(data: bytes, *, apply_exif: bool) -> Tensor:
    """Decode an image file; see `decode_with_damage`.

    Returns:
        uint8 [3, height, width], RGB.
    """
    return decode_with_damage(data, apply_exif=apply_exif).pixels


def decode_with_damage(data: bytes, *, apply_exif: bool) -> DecodedImage:
    """Decode an image file, and say what is wrong with it.

    Args:
        data: the whole file.
        apply_exif: turn and mirror the image as its EXIF orientation says.

    Raises:
        UndecodableImage: not an image, or a damaged one.
        TruncatedImage: an image that is cut off.
        UnsupportedImage: an image of a kind that is not read.
    """
    plain = _decode_plain_jpeg(data, apply_exif)
    if plain is not None:
        return DecodedImage(torch.from_numpy(plain).permute(2, 0, 1), "")
    header = open_image(data)
    damage = ""
    try:
        if header.format in ("JPEG", "MPO"):
            pixels, damage = _decode_jpeg(header, data)
        else:
            pixels = _decode_by_pillow(header, data)
    except UndecodableImage:
        raise
    except Exception as error:  # decoders raise what they like on damaged data
        if _CUT_OFF.search(str(error)):
            raise TruncatedImage("cut off: the data end before the last pixel") from error
        raise UndecodableImage(_reason(error)) from error
    turn = _TURNS.get(exif_orientation(header)) if apply_exif else None
    if turn is not None:
        pixels = turn(pixels).copy()  # torch takes no negative strides
    return DecodedImage(torch.from_numpy(pixels).permute(2, 0, 1), damage)


def open_image(data: bytes) -> Image.Image:
    """Read the header of an image file; the pixels stay undecoded.

    Raises:
        UndecodableImage: not an image, or its header is damaged.
        UnsupportedImage: an image that is none of `FORMATS`, or larger than Pillow's limit.
    """
    try:
        return Image.open(BytesIO(data), formats=_OPENERS)
    except Image.DecompressionBombError:
        raise UnsupportedImage(
            f"more than the {_pixel_limit():.0f} pixels up to which images are read; scale it down or cut it into tiles"
        ) from None
    except Image.UnidentifiedImageError:
        if kind := unread_kind(data):
            raise UnsupportedImage(f"{kind}, which is not read; convert it to JPEG or PNG first") from None
        raise UndecodableImage(describe_unidentified(data)) from None
    except Exception as error:  # Pillow's plugins raise what they like on damaged headers
        raise UndecodableImage(f"the header cannot be read: {_reason(error)}") from error


def exif_orientation(header: Image.Image) -> int:
    """The orientation in the file's EXIF data, 1 to 8; 1 where there is none.

    Only EXIF counts, as in browsers, and not what XMP says beside it.
    """
    stored = header.info.get("exif")
    if not stored:
        return 1
    exif = Image.Exif()
    try:
        exif.load(stored)
        orientation = exif.get(ExifTags.Base.Orientation)
    except Exception:  # damaged EXIF data raise anything; the pixels are sound
        return 1
    return orientation if orientation in _TURNS else 1


def _pixel_limit() -> float:
    """Most pixels of an image; Pillow warns at its limit, and refuses at twice as many."""
    return math.inf if Image.MAX_IMAGE_PIXELS is None else 2 * Image.MAX_IMAGE_PIXELS


def _decode_plain_jpeg(data: bytes, apply_exif: bool) -> np.ndarray | None:
    """Pixels uint8 [h, w, 3] of a sound JPEG that has nothing special, as nearly all; None for any other file.

    Pillow's look at the header, which tells the rest apart, would take a fortieth of the time of decoding.
    """
    if not data.startswith(_JPEG_BEGINNING) or (apply_exif and _may_have_exif(data)):
        return None
    try:
        height, width, colors, _ = simplejpeg.decode_jpeg_header(data)
        if colors in ("CMYK", "YCCK") or height * width > _pixel_limit():
            return None
        return simplejpeg.decode_jpeg(data, "RGB")
    except (ValueError, KeyError):  # damaged; or of a subsampling that simplejpeg has no name for
        return None


def _may_have_exif(data: bytes) -> bool:
    """Whether one of the segments before the pixels of a JPEG holds EXIF data, or their order is not plain."""
    position = len(_JPEG_BEGINNING) - 1
    while data[position : position + 1] == b"\xff":
        marker = data[position + 1 : position + 2]
        if marker == b"\xda":  # the pixels
            return False
        if marker == b"\xe1" and data.startswith(b"Exif", position + 4):
            return True
        position += 2 + int.from_bytes(data[position + 2 : position + 4])
    return True


def _decode_jpeg(header: Image.Image, data: bytes) -> tuple[np.ndarray, str]:
    """Pixels uint8 [h, w, 3], and what libjpeg-turbo warns of."""
    try:
        return _decode_by_turbojpeg(data, "CMYK" if header.mode == "CMYK" else "RGB"), ""
    except ValueError as error:
        damage = str(error)
        if _CUT_OFF.search(damage):  # whatever is missing would be filled with grey
            raise
    # Pillow reads on after a warning, raises after an error, and knows the rarer ways to store colors at less detail.
    return _rgb_pixels(header), "" if "subsampling" in damage else damage


def _decode_by_turbojpeg(data: bytes, colors: Literal["RGB", "CMYK"]) -> np.ndarray:
    """Pixels uint8 [h, w, 3]; the first warning is an error, as without `strict` pixels may stay unwritten."""
    pixels = simplejpeg.decode_jpeg(data, colors, strict=True)
    if colors == "CMYK":  # which JPEG stores inverted
        return np.array(Image.fromarray(255 - pixels, mode="CMYK").convert("RGB"))
    return pixels


def _decode_by_pillow(header: Image.Image, data: bytes) -> np.ndarray:
    """Pixels uint8 [h, w, 3]."""
    if header.format == "PNG":
        open_image(data).verify()  # decoding stops at the last row, before the checksums; after this no pixel is read
    return _rgb_pixels(header)


def _rgb_pixels(image: Image.Image) -> np.ndarray:
    """Uint8 [height, width, 3], in memory of its own."""
    if image.mode == "F":
        raise UnsupportedImage("floating-point pixels, whose range is unknown; store them as 8 or 16 bits a channel")
    if image.mode.startswith("I"):
        values = np.asarray(image).astype(np.int64)
        darkest, brightest = int(values.min()), int(values.max())
        if darkest < 0 or brightest > 0xFFFF:
            raise UnsupportedImage(
                f"pixels from {darkest} to {brightest}, whose range is unknown; store them as 8 or 16 bits a channel"
            )
        return np.repeat((values >> 8).astype(np.uint8)[..., None], 3, axis=-1)
    return np.array(image.convert("RGB"))


def _reason(error: Exception) -> str:
    """The decoder's words in one line, or plainer ones."""
    message = (str(error) or type(error).__name__).splitlines()[0]
    for words, plainer in _PLAINER.items():
        message = re.sub(words, plainer, message)
    return message
