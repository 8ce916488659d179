"""Layout and pixels of TIFF files.

The pages of a file are one image if ImageJ, OME or tifffile wrote them as its channels or as one array; of others, and
of stacks and films, the first page is read.
"""

import re
from io import BytesIO
from types import ModuleType
from typing import Any, Literal

import numpy as np
from PIL import TiffImagePlugin

from lightning_rcnn.data.decode import (
    EXIF_TURNS,
    TruncatedImage,
    UnsupportedImage,
    open_image,
    require_few_pixels,
)
from lightning_rcnn.data.image_formats import tiff_tags
from lightning_rcnn.data.stored_layout import StoredLayout, kind_of, shortest_last

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


def tiff_layout(data: bytes) -> StoredLayout:
    """Read the header of a TIFF file.

    Raises:
        UndecodableImage, UnsupportedImage: see `stored_layout` in `stored_pixels.py`; damaged tags raise anything.
    """
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
    kind = kind_of(f"{_KIND_PREFIXES[number]}{8 if depth < 8 else 16 if 8 < depth < 16 else depth}")
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
        kind = kind_of(series.dtype.name)
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


def read_by_tifffile(data: bytes, layout: StoredLayout) -> np.ndarray:
    """Read the pixels [h, w, C], upright, by tifffile.

    Raises:
        TruncatedImage, UnsupportedImage: see `read_stored` in `stored_pixels.py`; damaged data raise anything.
    """
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
    return shortest_last(pixels)


def _tifffile(what: str) -> ModuleType:
    try:
        import tifffile
    except ImportError:
        raise _missing(what, "tifffile") from None
    return tifffile


def _missing(what: str, package: str) -> UnsupportedImage:
    return UnsupportedImage(f"{what}, for which {package} is missing; install it: pip install 'lightning-rcnn[tiff]'")
