"""Changes of colors as numbers, which a worker draws and any device applies."""

from enum import IntEnum
from itertools import permutations
from typing import NamedTuple


class ColorKind(IntEnum):
    """What a step changes; `NOTHING` fills up a table. The numbers are those of `cuda/render.cu`."""

    NOTHING = 0
    BRIGHTNESS = 1
    CONTRAST = 2
    SATURATION = 3
    HUE = 4
    ORDER = 5
    GRAY = 6


class ColorStep(NamedTuple):
    """One change of the colors of an image.

    Attributes:
        kind: what is changed.
        value: factor of brightness, contrast or saturation, at least 0; shift of the hue in turns of the color circle,
            -0.5 to 0.5; index of the order of channels in `CHANNEL_ORDERS`; nothing for gray.
    """

    kind: ColorKind
    value: float = 0.0


CHANNEL_ORDERS = list(permutations(range(3)))
"""Orders of red, green and blue: the channels from which each is taken."""
COLORS = 3
"""Channels of an image with colors; of others each channel changes by itself."""
