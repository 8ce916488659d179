"""Decode image files to uint8 RGB arrays, with one rule for every kind of file.

| in the file | in the array |
|---|---|
| gray, black and white | the one channel three times |
| palette | the palette's colors; a transparent entry keeps its color |
| alpha (RGBA, gray with alpha), a fourth channel of a TIFF | dropped: the colors stay as stored, without blending |
| 16 bits per channel | the upper 8 bits, so black stays black and white stays white |
| integers outside 0..65535, floating point | refused: the range from black to white is unknown |
| CMYK, YCCK | converted without a color profile |
| several frames (GIF, TIFF, animated PNG) | the first one |
| EXIF orientation 2-8 | applied on request; the orientation of a TIFF is part of the format and always applied |
| missing pixels, a wrong checksum | refused |
| more pixels than Pillow's limit of 178 956 970 | refused, unless `pixel_limit` allows them |

libjpeg-turbo decodes JPEG, the format of nearly all files: it is fast and reports damage. Pillow decodes the rest. Both
raise on damaged data; torchvision's PNG decoder would end the process.
"""

import math
import re
import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from io import BytesIO
from typing import Literal, NamedTuple

import numpy as np
import simplejpeg
from PIL import ExifTags, Image

from lightning_rcnn.data.image_formats import FORMATS, HEIF, describe_unidentified, is_heic, unsupported_kind
from lightning_rcnn.data.jpeg_header import plain_jpeg

warnings.filterwarnings("ignore", module=r"PIL\.")  # they name no file, and the rules here cover what matters

_OPENERS = [name for name in FORMATS if name not in ("MPO", HEIF)]
"""Pillow opens MPO as JPEG, and HEIC with a plug-in. It starts other programs for formats that are not in the list."""

EXIF_TURNS: dict[int, Callable[[np.ndarray], np.ndarray]] = {
    2: lambda pixels: pixels[:, ::-1],
    3: lambda pixels: pixels[::-1, ::-1],
    4: lambda pixels: pixels[::-1],
    5: lambda pixels: pixels.swapaxes(0, 1),
    6: lambda pixels: pixels.swapaxes(0, 1)[:, ::-1],
    7: lambda pixels: pixels.swapaxes(0, 1)[::-1, ::-1],
    8: lambda pixels: pixels.swapaxes(0, 1)[::-1],
}
"""EXIF orientation -> function from the stored pixels [h, w, 3] to the pixels as displayed."""


_CUT_OFF = re.compile("truncated|premature end", re.IGNORECASE)
"""Pattern in every decoder's message about data that end too early."""
_PLAIN_MESSAGES = {
    r"^tj\w+\(\): ": "",
    r"^decoder error.*|.* when reading image file": "the compressed pixels are damaged",
    r"^failed to read next frame|^cannot load this image": "the compressed pixels are damaged",
    r"^could not create decoder object": "the file is damaged or cut off",
}
"""Patterns in decoders' messages that tell users nothing -> their replacements."""


class UndecodableImage(ValueError):  # noqa: N818 - says what the image is
    """Raised when an image cannot be decoded completely; the message is the reason."""


class TruncatedImage(UndecodableImage):
    """Raised when the data end before the last pixel."""


class UnsupportedImage(UndecodableImage):
    """Raised for a kind of file that is not supported, sound or not; the message names the kind and what to do."""


class DecodedPixels(NamedTuple):
    """The pixels of an image file.

    Attributes:
        pixels: uint8 [height, width, 3], RGB.
        damage: the decoder's report of damage although no pixel is missing; empty for a sound file.
    """

    pixels: np.ndarray
    damage: str


def decode_pixels(data: bytes, *, apply_exif: bool, room: np.ndarray | None = None) -> DecodedPixels:
    """Decode an image file and report its damage.

    Args:
        data: content of the file.
        apply_exif: whether to rotate and mirror the image by its EXIF orientation.
        room: memory into which a plain JPEG is decoded if it fits, uint8 [B]; by default memory of its own.

    Raises:
        UndecodableImage: not an image, or a damaged one.
        TruncatedImage: an image that is cut off.
        UnsupportedImage: an image of a kind that is not supported.
    """
    plain_pixels = _decode_plain_jpeg(data, apply_exif, room)
    if plain_pixels is not None:
        return DecodedPixels(plain_pixels, damage="")
    header = open_image(data)
    damage = ""
    try:
        if header.format in ("JPEG", "MPO"):
            pixels, damage = _decode_jpeg(header, data)
        else:
            pixels = _decode_by_pillow(header, data)
    except UndecodableImage:
        raise
    except Exception as error:  # decoders raise anything on damaged data
        raise as_undecodable(error) from error
    turn = EXIF_TURNS.get(exif_orientation(header)) if apply_exif else None
    return DecodedPixels(pixels if turn is None else turn(pixels).copy(), damage)  # torch takes no negative strides


def open_image(data: bytes) -> Image.Image:
    """Read the header of an image file without decoding the pixels.

    Raises:
        UndecodableImage: not an image, or its header is damaged.
        UnsupportedImage: an image of none of `FORMATS`, or larger than Pillow's limit.
    """
    try:
        return Image.open(BytesIO(data), formats=_OPENERS)
    except Image.DecompressionBombError:
        raise _too_many_pixels() from None
    except Image.UnidentifiedImageError:
        if is_heic(data):
            return _open_heic(data)
        if kind := unsupported_kind(data):
            raise UnsupportedImage(f"{kind}, which is not supported; convert it to JPEG or PNG first") from None
        raise UndecodableImage(describe_unidentified(data)) from None
    except Exception as error:  # Pillow's plugins raise anything on damaged headers
        raise UndecodableImage(f"the header cannot be read: {_reason(error)}") from error


def _open_heic(data: bytes) -> Image.Image:
    try:
        import pillow_heif
    except ImportError:
        raise UnsupportedImage(
            "a HEIC image, for which pillow-heif is missing; install it: pip install 'lightning-rcnn[heic]'"
        ) from None
    pillow_heif.register_heif_opener()
    try:
        return Image.open(BytesIO(data), formats=[HEIF])
    except Image.DecompressionBombError:
        raise _too_many_pixels() from None
    except Exception as error:  # the plug-in raises anything on damaged files
        raise UndecodableImage(describe_unidentified(data)) from error


def exif_orientation(header: Image.Image) -> int:
    """Return the orientation in the file's EXIF data, 1 to 8; 1 if there is none.

    As in browsers, only EXIF counts; an orientation in XMP is ignored.
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
    return orientation if orientation in EXIF_TURNS else 1


@contextmanager
def pixel_limit(number: int | None) -> Iterator[None]:
    """Allow images of so many pixels and refuse larger ones. It has no effect inside of one with the same number.

    Args:
        number: number of pixels, rounded up to an even one; None for the limit that holds, at first Pillow's.
    """
    before = Image.MAX_IMAGE_PIXELS
    limit = before if number is None else math.ceil(number / 2)  # Pillow refuses twice as many
    if limit == before:
        yield
        return
    Image.MAX_IMAGE_PIXELS = limit
    try:
        yield
    finally:
        Image.MAX_IMAGE_PIXELS = before


def at_least_pixels(number: int) -> AbstractContextManager[None]:
    """Allow images of so many pixels, such as one that was packed, whatever the limit is."""
    return pixel_limit(None if number <= _pixel_limit() else number)


def has_few_pixels(width: int, height: int) -> bool:
    """Return whether a size is within Pillow's limit."""
    return width * height <= _pixel_limit()


def require_few_pixels(width: int, height: int) -> None:
    """Refuse a size above Pillow's limit, for files that Pillow does not open.

    Raises:
        UnsupportedImage: the size is above it.
    """
    if not has_few_pixels(width, height):
        raise _too_many_pixels()


def _too_many_pixels() -> UnsupportedImage:
    return UnsupportedImage(
        f"more pixels than the limit of {_pixel_limit():.0f}; give --max_pixels, or cut it into tiles"
    )


def _pixel_limit() -> float:
    """Return the maximum number of pixels of an image: Pillow warns at its limit and refuses twice as many."""
    return math.inf if Image.MAX_IMAGE_PIXELS is None else 2 * Image.MAX_IMAGE_PIXELS


def _decode_plain_jpeg(data: bytes, apply_exif: bool, room: np.ndarray | None) -> np.ndarray | None:
    """Return pixels uint8 [h, w, 3] of a sound JPEG without special features; None for others."""
    header = plain_jpeg(data, apply_exif=apply_exif)
    if header is None or not has_few_pixels(header.width, header.height):
        return None
    size = header.height * header.width * 3
    buffer = None if room is None or size > len(room) else room[:size]
    try:
        return simplejpeg.decode_jpeg(data, "RGB", buffer=buffer)
    except (ValueError, KeyError):
        return None


def _decode_jpeg(header: Image.Image, data: bytes) -> tuple[np.ndarray, str]:
    """Return pixels uint8 [h, w, 3] and libjpeg-turbo's warning."""
    try:
        return _decode_by_turbojpeg(data, "CMYK" if header.mode == "CMYK" else "RGB"), ""
    except ValueError as error:
        damage = str(error)
        if _CUT_OFF.search(damage):  # the missing pixels would be filled with gray
            raise
    # Pillow continues after a warning, raises after an error, and supports the rarer kinds of chroma subsampling.
    return rgb_pixels(header), "" if "subsampling" in damage else damage


def _decode_by_turbojpeg(data: bytes, colors: Literal["RGB", "CMYK"]) -> np.ndarray:
    """Return pixels uint8 [h, w, 3]; the first warning is an error, since without `strict` pixels may stay unset."""
    pixels = simplejpeg.decode_jpeg(data, colors, strict=True)
    if colors == "CMYK":  # JPEG stores CMYK inverted
        return np.array(Image.fromarray(255 - pixels, mode="CMYK").convert("RGB"))
    return pixels


def _decode_by_pillow(header: Image.Image, data: bytes) -> np.ndarray:
    """Return pixels uint8 [h, w, 3]."""
    if header.format == "PNG":
        # Decoding stops at the last row and skips the checksums. `verify` leaves its image unreadable, so it gets one.
        open_image(data).verify()
    return rgb_pixels(header)


def rgb_pixels(image: Image.Image) -> np.ndarray:
    """Return a copy of the pixels, uint8 [height, width, 3], RGB; of 16 bits per channel, the upper 8.

    Raises:
        UnsupportedImage: the pixels are floats or 32-bit numbers, whose range is unknown.
    """
    if image.mode == "F":
        raise UnsupportedImage("floating-point pixels, whose range is unknown; store them as 8 or 16 bits per channel")
    if image.mode.startswith("I"):
        values = np.asarray(image).astype(np.int64)
        darkest, brightest = int(values.min()), int(values.max())
        if darkest < 0 or brightest > 0xFFFF:
            raise UnsupportedImage(
                f"pixels from {darkest} to {brightest}, whose range is unknown; store them as 8 or 16 bits per channel"
            )
        return np.repeat((values >> 8).astype(np.uint8)[..., None], 3, axis=-1)
    return np.array(image.convert("RGB"))


def as_undecodable(error: Exception) -> UndecodableImage:
    """Return the error for what a decoder raised."""
    if _CUT_OFF.search(str(error)):
        return TruncatedImage("cut off: the data end before the last pixel")
    return UndecodableImage(_reason(error))


def _reason(error: Exception) -> str:
    """Return the decoder's message in one line, in plain words."""
    message = (str(error) or type(error).__name__).splitlines()[0]
    for pattern, plain_message in _PLAIN_MESSAGES.items():
        message = re.sub(pattern, plain_message, message)
    return message
