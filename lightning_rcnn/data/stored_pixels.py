"""Read the pixels of image files as they are stored: any number of channels, 8 to 32 bits, floats.

| file | read by |
|---|---|
| PNG of 16 bits | OpenCV; Pillow keeps only 8 bits of colors |
| TIFF of one channel, or of colors of 8 bits | Pillow |
| any other TIFF | tifffile (the extra `tiff`), some compressed ones with imagecodecs |
| npy | numpy: [h, w], [h, w, C], or [C, h, w] if the first axis is the shortest |
| others | Pillow |

The pages of a TIFF are one image if ImageJ, OME or tifffile wrote them as its channels or as one array; of
others, and of stacks and films, the first page is read.
"""

import re
from collections.abc import Callable
from io import BytesIO
from types import ModuleType
from typing import Any, Literal, NamedTuple, cast

import numpy as np
from PIL import TiffImagePlugin

from lightning_rcnn.data.decode import (
    EXIF_TURNS,
    TruncatedImage,
    UndecodableImage,
    UnsupportedImage,
    as_undecodable,
    exif_orientation,
    open_image,
    require_few_pixels,
)
from lightning_rcnn.data.image_formats import FORMATS, is_array, is_tiff, tiff_tags
from lightning_rcnn.data.pixel_format import KINDS, PixelKind

_ALPHA = (1, 2)
"""Values of TIFF's ExtraSamples that mean transparency; 0 is any other channel."""
_ORIENTATION, _SAMPLE_FORMAT = 274, TiffImagePlugin.SAMPLEFORMAT
_SERIES = re.compile(r'\{"shape": |ImageJ=[\s\S]*channels=|[\s\S]*SizeC="(?!1")')
"""Pattern of TIFF's ImageDescription where several pages may be one image."""
_MOST_PILLOW_SAMPLES = 4
"""Pillow writes an error to the log about more."""
_KIND_PREFIXES = {1: "uint", 2: "int", 3: "float"}
"""TIFF's SampleFormat -> beginning of the type's name."""
_COLOR_MODELS = (3, 5, 6, 8)
"""TIFF's PhotometricInterpretation where the stored samples are not the colors: palette, CMYK, YCbCr, Lab."""
_PNG_CHANNELS = {0: 1, 2: 3, 3: 3, 4: 1, 6: 3}
_GRAY_MODES, _ALPHA_MODES = ("1", "L", "LA", "La"), ("LA", "RGBA", "PA", "La", "RGBa")


class StoredLayout(NamedTuple):
    """Channels and type of the pixels in a file.

    Attributes:
        extension: extension by the file's content, without a dot.
        channels: number of channels without transparency.
        kind: type of the values.
        has_alpha: whether a channel of transparency follows them.
        becomes_rgb: whether `decode_image` converts the file to RGB.
        is_pillows: whether Pillow reads all channels unchanged.
        has_more: whether more images follow in the file.
        is_series: whether its pages are one image.
    """

    extension: str
    channels: int
    kind: PixelKind
    has_alpha: bool = False
    becomes_rgb: bool = True
    is_pillows: bool = True
    has_more: bool = False
    is_series: bool = False

    @property
    def is_plain(self) -> bool:
        """Whether RGB of 8 bits holds all of it but the transparency."""
        return self.kind == "uint8" and self.channels in (1, 3)


def stored_layout(data: bytes) -> StoredLayout:
    """Read the header of an image file.

    Raises:
        UndecodableImage: not an image, or its header is damaged.
        UnsupportedImage: pixels of a type that is not supported.
    """
    if is_array(data):
        array = _open_array(data)
        return StoredLayout("npy", array.shape[2], _kind_of(array.dtype.name), becomes_rgb=False)
    if is_tiff(data):
        try:
            return _tiff_layout(data)
        except UndecodableImage:
            raise
        except Exception as error:  # damaged tags raise anything
            raise UndecodableImage("the header of the TIFF file is damaged or cut off") from error
    header = open_image(data)
    extension = FORMATS[header.format or ""].extension
    if header.format == "PNG" and data[24] == 16:
        return StoredLayout(extension, _PNG_CHANNELS.get(data[25], 3), "uint16", data[25] in (4, 6))
    if header.mode == "F":
        return StoredLayout(extension, 1, "float32", becomes_rgb=False)
    if header.mode.startswith("I"):
        return StoredLayout(extension, 1, "uint16")
    has_alpha = header.mode in _ALPHA_MODES or "transparency" in header.info
    return StoredLayout(extension, 1 if header.mode in _GRAY_MODES else 3, "uint8", has_alpha)


def read_stored(data: bytes, *, apply_exif: bool) -> np.ndarray:
    """Read the pixels of an image file as they are stored; the orientation of a TIFF is always applied.

    Args:
        data: content of the file.
        apply_exif: whether to rotate and mirror the image by its EXIF orientation.

    Returns:
        [h, w, C] of a type in `KINDS`; transparency is the last channel.

    Raises:
        UndecodableImage: not an image, or a damaged one.
        TruncatedImage: an image that is cut off.
        UnsupportedImage: an image of a kind that is not supported, or for which a package is missing.
    """
    layout = stored_layout(data)
    try:
        pixels = _reader(layout)(data, layout)
    except UndecodableImage:
        raise
    except Exception as error:  # decoders raise anything on damaged data
        raise as_undecodable(error) from error
    pixels = pixels[..., None] if pixels.ndim == 2 else pixels
    if pixels.shape[2] != layout.channels + layout.has_alpha:
        raise UndecodableImage(f"has {pixels.shape[2]} channels, but its header says {layout.channels}")
    pixels = pixels.astype(layout.kind, copy=False)
    if not apply_exif or layout.extension in ("tif", "npy"):
        return pixels
    turn = EXIF_TURNS.get(exif_orientation(open_image(data)))
    return pixels if turn is None else np.ascontiguousarray(turn(pixels))


def _reader(layout: StoredLayout) -> Callable[[bytes, StoredLayout], np.ndarray]:
    if layout.extension == "npy":
        return lambda data, _: np.array(_open_array(data))
    if layout.extension == "png" and layout.kind == "uint16":
        return _read_deep_png
    if layout.extension == "tif" and not layout.is_pillows:
        return _read_by_tifffile
    return _read_by_pillow


def _read_by_pillow(data: bytes, layout: StoredLayout) -> np.ndarray:
    image = open_image(data)
    if layout.kind == "uint8":
        modes = {(1, False): "L", (1, True): "LA", (3, False): "RGB", (3, True): "RGBA"}
        return np.array(image.convert(modes[layout.channels, layout.has_alpha]))
    return np.array(image)


def _read_deep_png(data: bytes, layout: StoredLayout) -> np.ndarray:
    import cv2

    open_image(data).verify()  # OpenCV fills missing pixels, and skips checksums
    image = open_image(data)
    image.load()
    pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if pixels is None:
        raise UndecodableImage("the compressed pixels are damaged")
    if layout.channels == 1:
        # OpenCV gives gray with transparency as four channels.
        return pixels if pixels.ndim == 2 else pixels[..., [0, 3]] if layout.has_alpha else pixels[..., :1]
    return pixels[..., [2, 1, 0, 3] if layout.has_alpha else [2, 1, 0]]


def _read_by_tifffile(data: bytes, layout: StoredLayout) -> np.ndarray:
    what = f"a TIFF of {layout.channels + layout.has_alpha} channels of {layout.kind}"
    with _tifffile(what).TiffFile(BytesIO(data)) as file:
        source = file.series[0] if layout.is_series else file.pages[0]
        pages = [page for page in (source.pages if layout.is_series else [source]) if page is not None]
        segments = [each for page in pages for each in zip(page.dataoffsets, page.databytecounts, strict=True)]
        # Of an uncompressed series tifffile lists the first page only.
        start = getattr(source, "dataoffset", None)
        ends = [sum(each) for each in segments] + ([] if start is None else [start + source.nbytes])
        if max(ends) > len(data):  # tifffile may fill missing pixels
            raise TruncatedImage("cut off: the data end before the last pixel")
        try:
            pixels = source.asarray()
        except ValueError as error:
            if "imagecodecs" in str(error):
                raise _missing(f"a TIFF compressed by {file.pages[0].compression.name}", "imagecodecs") from None
            raise
        pixels = _channels_last(pixels, source.axes)
        tag = file.pages[0].tags.get(_ORIENTATION)
    turn = EXIF_TURNS.get(int(tag.value)) if tag is not None else None
    return pixels if turn is None else np.ascontiguousarray(turn(pixels))


def _channels_last(pixels: np.ndarray, axes: str) -> np.ndarray:
    """Return [h, w, C] of an array with tifffile's names of its axes, of which any but these are cut at their first."""
    if "C" in axes or "S" in axes:
        channel = "C" if "C" in axes and pixels.shape[axes.index("C")] > 1 else "S" if "S" in axes else "C"
        kept = [axis for axis in axes if axis in ("Y", "X", channel)]
        pixels = pixels[tuple(slice(None) if axis in kept else 0 for axis in axes)]
        return np.moveaxis(pixels, kept.index(channel), -1)
    return _shortest_last(pixels)


def _shortest_last(pixels: np.ndarray) -> np.ndarray:
    """Return [h, w, C] of an array [h, w], [h, w, C], or [C, h, w] with fewest channels."""
    if pixels.ndim == 2:
        return pixels[..., None]
    return np.moveaxis(pixels, 0, -1) if pixels.shape[0] < min(pixels.shape[1:]) else pixels


def _tifffile(what: str) -> ModuleType:
    try:
        import tifffile
    except ImportError:
        raise _missing(what, "tifffile") from None
    return tifffile


def _missing(what: str, package: str) -> UnsupportedImage:
    return UnsupportedImage(f"{what}, for which {package} is missing; install it: pip install 'lightning-rcnn[tiff]'")


def _tiff_layout(data: bytes) -> StoredLayout:
    tags = tiff_tags(data)
    width, height = (int(tags[tag]) for tag in (TiffImagePlugin.IMAGEWIDTH, TiffImagePlugin.IMAGELENGTH))
    require_few_pixels(width, height)
    samples = int(tags.get(TiffImagePlugin.SAMPLESPERPIXEL, 1))
    bits = set(map(int, tags.get(TiffImagePlugin.BITSPERSAMPLE, (1,))))
    is_series = bool(tags.next) and _SERIES.match(str(tags.get(TiffImagePlugin.IMAGEDESCRIPTION, "")))
    if is_series and (series := _series_layout(data)):
        return series
    mode = _pillow_mode(data) if samples <= _MOST_PILLOW_SAMPLES else ""
    becomes_rgb, has_more = mode not in ("", "F"), tags.next != 0
    if max(bits) <= 8 and int(tags.get(TiffImagePlugin.PHOTOMETRIC_INTERPRETATION, 1)) in _COLOR_MODELS:
        return StoredLayout("tif", 3, "uint8", samples == 2, becomes_rgb, has_more=has_more)
    formats = set(map(int, _listed(tags.get(_SAMPLE_FORMAT, (1,)))))
    if len(bits) > 1 or len(formats) > 1 or formats - set(_KIND_PREFIXES):
        raise UnsupportedImage(f"a TIFF of {samples} channels of several types; store them as one type")
    (depth,), (number,) = bits, formats
    kind = _kind_of(f"{_KIND_PREFIXES[number]}{8 if depth < 8 else 16 if 8 < depth < 16 else depth}")
    extra = [int(value) for value in _listed(tags.get(TiffImagePlugin.EXTRASAMPLES, ()))]
    has_alpha = bool(extra) and extra[-1] in _ALPHA
    channels = samples - has_alpha
    becomes_rgb = becomes_rgb and kind in ("uint8", "uint16")
    is_pillows = mode != "" and ((channels == 1 and not has_alpha) or (channels == 3 and kind == "uint8"))
    return StoredLayout("tif", channels, kind, has_alpha, becomes_rgb, is_pillows, has_more)


def _series_layout(data: bytes) -> StoredLayout | None:
    """Return the layout of a TIFF whose pages are one image; None if its pages are several."""
    _require_all_pages(data)
    with _tifffile("a TIFF whose pages are its channels").TiffFile(BytesIO(data)) as file:
        series = file.series[0]
        is_array = file.is_shaped and len(series.shape) == 3
        if len(series) == 1 or not (is_array or "C" in series.axes):
            return None
        shape = _channels_last(np.broadcast_to(np.zeros(1, np.bool_), series.shape), series.axes).shape
        require_few_pixels(shape[1], shape[0])
        kind = _kind_of(series.dtype.name)
        return StoredLayout("tif", shape[2], kind, becomes_rgb=False, is_pillows=False, is_series=True)


def _require_all_pages(data: bytes) -> None:
    """Follow the pages of a TIFF to the last one; tifffile would read a shorter image.

    Raises:
        TruncatedImage: a page is beyond the end.
    """
    order: Literal["little", "big"] = "little" if data.startswith(b"II") else "big"
    is_big = int.from_bytes(data[2:4], order) == 43
    count_size, entry_size, offset_size, position = (8, 20, 8, 8) if is_big else (2, 12, 4, 4)
    visited = {0}
    while (offset := int.from_bytes(data[position : position + offset_size], order)) not in visited:
        visited.add(offset)
        position = offset + count_size + entry_size * int.from_bytes(data[offset : offset + count_size], order)
        if position + offset_size > len(data):
            raise TruncatedImage("cut off: the data end before the last page")


def _pillow_mode(data: bytes) -> str:
    """Return Pillow's mode of a file; empty if Pillow cannot open it."""
    try:
        return open_image(data).mode
    except UnsupportedImage:
        return ""


def _listed(value: Any) -> Any:
    return value if isinstance(value, tuple) else (value,)


def _open_array(data: bytes) -> np.ndarray:
    """Return a view [h, w, C] of a numpy file."""
    try:
        stream = BytesIO(data)
        version = np.lib.format.read_magic(stream)
        read_header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, is_fortran, dtype = read_header(stream)
    except Exception as error:  # damaged headers raise anything
        raise UndecodableImage("the header of the npy file is damaged or cut off") from error
    if len(shape) not in (2, 3) or min(shape) < 1 or dtype.hasobject:
        raise UnsupportedImage(f"an array {list(shape)} of {dtype}; store [height, width, channels]")
    _kind_of(dtype.name)
    size = int(np.prod(shape)) * dtype.itemsize
    if len(data) - stream.tell() < size:
        raise TruncatedImage("cut off: the data end before the last pixel")
    array = np.frombuffer(data, dtype, int(np.prod(shape)), stream.tell()).reshape(
        shape, order="F" if is_fortran else "C"
    )
    array = _shortest_last(array)
    require_few_pixels(array.shape[1], array.shape[0])
    return array


def _kind_of(dtype: str) -> PixelKind:
    kind = "float32" if dtype in ("float16", "float64") else dtype
    if kind not in KINDS:
        raise UnsupportedImage(f"pixels of {dtype}; store them as one of {', '.join(KINDS)}")
    return cast(PixelKind, kind)
