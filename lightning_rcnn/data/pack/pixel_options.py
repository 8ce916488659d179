"""The options of `pack` for pixels: channels, range of values, and how they are checked."""

import math
from dataclasses import dataclass

from lightning_rcnn.data.pack.sound_jpeg import STRUCTURE, JpegCheck
from lightning_rcnn.data.pixel_format import PixelFormat
from lightning_rcnn.errors import InputError

AUTO, FULL, PERCENTILE, REDUCED = "auto", "full", "percentile", "rgb"
PERCENTILES = (0.5, 99.5)
"""Percentiles of `--range percentile`: a few defective pixels do not decide the contrast."""


@dataclass(frozen=True)
class PixelOptions:
    """What to keep of the pixels of images, which values become black and white, and how JPEGs are checked.

    Attributes:
        channels: "auto", "rgb" or a number; see `PackOptions`.
        value_range: "auto", "full", "percentile" or "LOW,HIGH".
        bands: channels that pictures show, from 1, separated by commas; None for the default.
        max_pixels: largest number of pixels of an image; None for Pillow's limit.
        check: how JPEGs are checked; see `PackOptions`.

    Raises:
        InputError: a value makes no sense.
    """

    channels: str = AUTO
    value_range: str = AUTO
    bands: str | None = None
    max_pixels: int | None = None
    check: JpegCheck = "full"

    def __post_init__(self) -> None:
        if self.channels not in (AUTO, REDUCED) and not (self.channels.isdigit() and int(self.channels) > 0):
            raise InputError(f"--channels {self.channels}: give auto, rgb, or a number of channels such as 4")
        if self.channels == REDUCED and (self.value_range != AUTO or self.bands is not None):
            raise InputError("--channels rgb: makes 8 bits of all images, so --range and --bands have no meaning")
        if self.value_range not in (AUTO, FULL, PERCENTILE):
            self.limits()
        if self.value_range == PERCENTILE and self.check == STRUCTURE:
            raise InputError("--range percentile: reads all pixels, so --check structure saves nothing; leave it out")
        if self.bands is not None:
            self.band_numbers()
        if self.max_pixels is not None and self.max_pixels < 1:
            raise InputError(f"--max_pixels {self.max_pixels}: give a number of pixels above 0, such as 1000000000")

    @property
    def number(self) -> int | None:
        """The requested number of channels; None if the images decide."""
        return int(self.channels) if self.channels not in (AUTO, REDUCED) else None

    def limits(self) -> tuple[float, float]:
        """Return LOW and HIGH.

        Raises:
            InputError: the range is none.
        """
        try:
            low, high = (float(part) for part in self.value_range.split(","))
        except ValueError:
            low, high = math.nan, math.nan
        if not (math.isfinite(low) and math.isfinite(high) and low < high):
            raise InputError(
                f"--range {self.value_range}: give auto, full, percentile, or the values of black and white, such as "
                "0,4095 (with a minus --range=-1000,3000)"
            )
        return low, high

    def band_numbers(self) -> tuple[int, ...]:
        """Return the channels that pictures show, from 1; empty for the default.

        Raises:
            InputError: neither one nor three numbers.
        """
        parts = [part.strip() for part in self.bands.split(",")] if self.bands else []
        if len(parts) not in (0, 1, 3) or not all(part.isdigit() and int(part) > 0 for part in parts):
            raise InputError(f"--bands {self.bands}: give one or three channels, counted from 1, such as 4,3,2")
        return tuple(int(part) for part in parts)

    def checked_bands(self, pixels: PixelFormat) -> PixelFormat:
        """Return a format with the bands of the options.

        Raises:
            InputError: it has not so many channels.
        """
        bands = self.band_numbers()
        if max(bands, default=1) > pixels.channels:
            raise InputError(f"--bands {self.bands}: the images have {pixels.channels} channels")
        return PixelFormat(pixels.channels, pixels.kind, pixels.low, pixels.high, bands)
