"""The pixel format of a data set: the channels of its images, and the range of their values."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

import numpy as np

from lightning_rcnn.errors import InputError
from lightning_rcnn.settings import Settings
from lightning_rcnn.settings_checks import PositiveCount

PixelKind = Literal["uint8", "int8", "uint16", "int16", "uint32", "int32", "float32"]
"""Types of values as stored, by numpy's names; other floats become float32."""
KINDS: tuple[PixelKind, ...] = get_args(PixelKind)


@dataclass(frozen=True)
class PixelFormat(Settings):
    """How the values of images become numbers from 0 to 255, which is what transforms and detectors work on.

    Images of 8 bits stay uint8 where the range is 0 to 255. All others become float32: LOW becomes 0 and HIGH 255,
    unrounded; values beyond are clipped, and values that are not finite count as LOW. The default is RGB of 8 bits, to
    which images of any other kind are converted by the table of `decode.py`.

    Args:
        channels: number of channels C; an image of one channel becomes three equal ones where C is 3.
        kind: type of the stored values.
        low, high: range of the values: one number, or one for each channel.
        bands: channels, from 1, that pictures show as red, green and blue, or one that they show as gray. By default
            the first three, or of fewer channels the first.

    Raises:
        InputError: the numbers do not fit together.
    """

    channels: PositiveCount = 3
    kind: PixelKind = "uint8"
    low: tuple[float, ...] = (0.0,)
    high: tuple[float, ...] = (255.0,)
    bands: tuple[PositiveCount, ...] = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        if not {len(self.low), len(self.high)} <= {1, self.channels}:
            raise InputError(
                f"pixels: low has {len(self.low)} and high {len(self.high)} numbers for {self.channels} channels; "
                "give one, or one for each channel"
            )
        if not (np.isfinite([*self.low, *self.high]).all() and (np.array(self.low) < np.array(self.high)).all()):
            raise InputError(f"pixels: the range from {list(self.low)} to {list(self.high)} is none; give low < high")
        if len(self.bands) not in (0, 1, 3) or max(self.bands, default=1) > self.channels:
            raise InputError(
                f"pixels: bands {list(self.bands)}: give one or three of the channels 1 to {self.channels}"
            )

    @property
    def is_rgb(self) -> bool:
        """Whether images are RGB of 8 bits, or are converted to it."""
        return self.channels == 3 and self.is_eight_bit

    @property
    def is_eight_bit(self) -> bool:
        """Whether the stored values are those that a detector gets."""
        return self.kind == "uint8" and set(self.low) == {0} and set(self.high) == {255}

    @property
    def layout(self) -> str:
        """The channels and their type, for messages."""
        return f"{self.channels} channel{'s' * (self.channels > 1)} of {self.kind}"

    def describe(self) -> str:
        """Return channels, type and range in one line."""
        return f"{self.layout} {self.range_text}"

    @property
    def range_text(self) -> str:
        """The range of the values, for messages."""
        return f"from {_shortened(self.low)} to {_shortened(self.high)}"

    def to_plain(self) -> dict[str, Any]:
        """Return the format as plain data of an index; `from_plain` is the inverse."""
        return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()}

    @classmethod
    def from_plain(cls, content: dict[str, Any]) -> "PixelFormat":
        """Return the format that plain data describe.

        Raises:
            InputError: it is none.
        """
        if content["kind"] not in KINDS:
            raise InputError(f"pixels: unknown kind {content['kind']!r}; known are {', '.join(KINDS)}")
        return cls(**content)


RGB = PixelFormat()


def united(first: PixelFormat, second: PixelFormat) -> PixelFormat:
    """Return the format of two data sets with the same channels and kind: the range holds both ranges."""
    low, high = np.minimum(first.low, second.low), np.maximum(first.high, second.high)
    return PixelFormat(first.channels, first.kind, tuple(low.tolist()), tuple(high.tolist()), first.bands)


def per_channel(colors: Sequence[float], channels: int) -> list[float]:
    """Return a number for each channel from those of red, green and blue.

    One channel gets their mean; of others, channel i gets that of color i modulo 3, as a backbone's first convolution
    (`backbones/stem.py`) repeats its weights.
    """
    if channels == 1:
        return [sum(colors) / len(colors)]
    return [colors[channel % len(colors)] for channel in range(channels)]


def _shortened(values: tuple[float, ...]) -> str:
    texts = list(dict.fromkeys(f"{value:g}" for value in values))
    return texts[0] if len(texts) == 1 else f"{', '.join(texts[:3])}{', ...' * (len(texts) > 3)}"
