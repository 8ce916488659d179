"""Decide the pixel format of a data set from its images, while they are packed.

The files stay as they are, byte for byte; the format in the index says how they are read. Images of one type, with one
number of channels, keep both. Mixed images are converted to RGB of 8 bits where that is possible.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from lightning_rcnn.data.decode import UnsupportedImage, pixel_limit
from lightning_rcnn.data.pack.pixel_options import AUTO, FULL, PERCENTILE, PERCENTILES, REDUCED, PixelOptions
from lightning_rcnn.data.pack.sound_jpeg import jpeg_check
from lightning_rcnn.data.pack.source import Outcome
from lightning_rcnn.data.pixel_format import RGB, PixelFormat, PixelKind
from lightning_rcnn.data.stored_layout import StoredLayout
from lightning_rcnn.data.stored_pixels import read_stored, stored_layout
from lightning_rcnn.errors import InputError

_PIXELS_OF_IMAGE = 4096
"""Number of pixels of an image that are sampled for percentiles, at regular positions."""
_MAX_PIXELS = 2**20
"""Number of sampled pixels of a set, above which every second one is dropped: the memory stays flat."""


class PixelSummary(NamedTuple):
    """What is known of the pixels of one image.

    Attributes:
        layout: channels and type.
        lowest, highest: smallest and largest finite value of each stored channel; empty if they were not read.
        sample: values [n, C] at regular positions; without rows unless percentiles are requested.
        unread: why the values could not be read as stored, although the file becomes RGB; empty otherwise.
    """

    layout: StoredLayout
    lowest: np.ndarray
    highest: np.ndarray
    sample: np.ndarray
    unread: str = ""


def read_surveyed(
    item: Any, read: Callable[[Any], Outcome], options: PixelOptions, *, keeps_image: bool
) -> tuple[Outcome, PixelSummary | None]:
    """Read an item, and summarize the pixels of its image if it has one.

    Args:
        item: item of a source.
        read: function that reads it.
        options: options of the packing.
        keeps_image: whether to return the bytes of the image; see `Source.writes_images`.
    """
    with pixel_limit(options.max_pixels), jpeg_check(options.check):
        outcome = read(item)
        if outcome.sample is None:
            return outcome, None
        summary = summarize(outcome.sample.image, options)
    if not keeps_image:
        outcome = outcome._replace(sample=outcome.sample._replace(image=b""))
    return outcome, summary


def summarize(data: bytes, options: PixelOptions) -> PixelSummary:
    """Summarize the pixels of a file that can be decoded; plain ones only if their values decide the range."""
    layout = stored_layout(data)
    nothing = np.zeros(0)
    if options.channels == REDUCED or (layout.is_plain and options.value_range != PERCENTILE):
        return PixelSummary(layout, nothing, nothing, nothing)
    try:
        values = read_stored(data, apply_exif=False).reshape(-1, layout.channels + layout.has_alpha)
    except UnsupportedImage as error:
        return PixelSummary(layout, nothing, nothing, nothing, str(error))
    is_finite = np.isfinite(values)
    lowest = np.where(is_finite, values, np.inf).min(axis=0) if not is_finite.all() else values.min(axis=0)
    highest = np.where(is_finite, values, -np.inf).max(axis=0) if not is_finite.all() else values.max(axis=0)
    step = max(1, len(values) // _PIXELS_OF_IMAGE)
    sample = values[::step][:_PIXELS_OF_IMAGE] if options.value_range == PERCENTILE else values[:0]
    return PixelSummary(layout, lowest.astype(np.float64), highest.astype(np.float64), sample.astype(np.float32))


class PixelSurvey:
    """Collects the summaries of a set and decides its format.

    Args:
        options: options of the packing.
    """

    def __init__(self, options: PixelOptions) -> None:
        self._options = options
        self._first: dict[StoredLayout, str] = {}
        self._lowest: dict[int, np.ndarray] = {}
        self._highest: dict[int, np.ndarray] = {}
        self._samples: list[np.ndarray] = []
        self._step, self._num_pixels, self._num_kept = 1, 0, 0
        self._unread = ""

    def add(self, summary: PixelSummary | None, file_name: str) -> None:
        """Add the summary of an image; None if it does not matter."""
        if summary is None:
            return
        self._first.setdefault(summary.layout, file_name)
        self._unread = self._unread or (f"{file_name}: {summary.unread}" if summary.unread else "")
        if len(summary.lowest):
            width = len(summary.lowest)
            self._lowest[width] = np.minimum(self._lowest.get(width, summary.lowest), summary.lowest)
            self._highest[width] = np.maximum(self._highest.get(width, summary.highest), summary.highest)
        if len(summary.sample):
            self._sample(summary.sample)

    def _sample(self, pixels: np.ndarray) -> None:
        """Keep every n-th pixel of all that come, and every second of these where they become too many."""
        self._samples.append(pixels[-self._num_pixels % self._step :: self._step])
        self._num_pixels += len(pixels)
        self._num_kept += len(self._samples[-1])
        while self._num_kept > _MAX_PIXELS:
            kept, position = [], 0
            for sample in self._samples:
                kept.append(sample[position % 2 :: 2])
                position += len(sample)
            self._samples = [sample for sample in kept if len(sample)]
            self._num_kept = sum(map(len, self._samples))
            self._step *= 2

    def decide(self, name: str) -> PixelFormat:
        """Return the format of the set.

        Args:
            name: name of the set, for messages.

        Raises:
            InputError: no format holds all images, or the values are beyond the requested range.
        """
        options, kinds = self._options, {layout.kind for layout in self._first}
        if options.channels == REDUCED:
            for layout, file in self._first.items():
                if not layout.becomes_rgb:
                    raise InputError(
                        f"{name}: --channels rgb, but {file} has {layout.channels} x {layout.kind}; leave it out, or "
                        "pack such images apart"
                    )
        if options.channels == REDUCED or not self._first:
            return RGB
        is_plain = all(layout.is_plain for layout in self._first)
        if options.channels == AUTO and options.value_range == AUTO and is_plain:
            return options.checked_bands(RGB)
        if len(kinds) > 1 or (options.number is None and len(self._numbers()) > 1 and self._numbers() != {1, 3}):
            if options.channels == AUTO and all(layout.becomes_rgb for layout in self._first):
                if options.value_range != AUTO:
                    raise InputError(f"{name}: {self._mixture()}; --range needs images of one type: pack them apart")
                return options.checked_bands(RGB)
            raise InputError(f"{name}: {self._mixture()}; pack them apart")
        if self._unread:
            raise InputError(f"{name}: {self._unread}, or pack RGB of 8 bits with --channels rgb")
        (kind,) = kinds
        channels = self._channels(name, is_plain)
        low, high = self._range(name, kind, channels)
        return options.checked_bands(PixelFormat(channels, kind, low, high))

    def _numbers(self) -> set[int]:
        return {layout.channels for layout in self._first}

    def _mixture(self) -> str:
        """Name the first image of each layout."""
        named = {f"{layout.channels} x {layout.kind}": file for layout, file in reversed(self._first.items())}
        return "images of different pixels: " + ", ".join(
            f"{layout} (first: {file})" for layout, file in reversed(named.items())
        )

    def _channels(self, name: str, is_plain: bool) -> int:
        number = self._options.number
        if number is None:
            return 3 if is_plain else max(self._numbers())
        for layout, file in self._first.items():
            holds = {layout.channels, layout.channels + layout.has_alpha, 3 if layout.channels == 1 else 0}
            if number not in holds:
                raise InputError(
                    f"{name}: --channels {number}, but {file} has {layout.channels}; leave it out, or pack such images "
                    "apart"
                )
        return number

    def _range(self, name: str, kind: PixelKind, channels: int) -> tuple[tuple[float, ...], tuple[float, ...]]:
        chosen = self._options.value_range
        if chosen not in (AUTO, FULL, PERCENTILE):
            low, high = self._options.limits()
            return (low,), (high,)
        is_float = kind == "float32"
        lowest, highest = self._limits(channels) if self._lowest else (np.zeros(1), np.full(1, 255.0))
        if chosen == PERCENTILE:
            sample = np.concatenate([_widened(sample, channels) for sample in self._samples])
            low, high = np.nanpercentile(np.where(np.isfinite(sample), sample, np.nan), PERCENTILES, axis=0)
            return _apart(low, high)
        if is_float and lowest.min() >= 0 and highest.max() <= 1:
            return (0.0,), (1.0,)
        if chosen == FULL:
            if is_float:
                raise InputError(
                    f"{name}: --range full of floats is 0 to 1, and the values are from {lowest.min():g} to "
                    f"{highest.max():g}; give --range LOW,HIGH, auto or percentile"
                )
            return (float(np.iinfo(kind).min),), (float(np.iinfo(kind).max),)
        if not is_float and lowest.min() >= 0:
            return (0.0,), (float(2 ** max(8, int(highest.max()).bit_length()) - 1),)
        return _apart(lowest, highest)

    def _limits(self, channels: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the smallest and largest value of each channel [C], over images of different numbers of channels."""
        lowest = np.min([_widened(values[None], channels)[0] for values in self._lowest.values()], axis=0)
        highest = np.max([_widened(values[None], channels)[0] for values in self._highest.values()], axis=0)
        return np.where(np.isfinite(lowest), lowest, 0.0), np.where(np.isfinite(highest), highest, 0.0)


def _widened(values: np.ndarray, channels: int) -> np.ndarray:
    """Return values [n, c] with the channels of a format: one is repeated, transparency left out."""
    return np.repeat(values[:, :1], channels, axis=1) if values.shape[1] < channels else values[:, :channels]


def _apart(low: np.ndarray, high: np.ndarray) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return limits of each channel as numbers; those of a constant channel are one apart."""
    high = np.where(high > low, high, low + 1)
    return tuple(low.tolist()), tuple(high.tolist())
