"""Tiles of a large image: windows of one size that cover it and overlap."""

import math
from typing import NamedTuple


class Tile(NamedTuple):
    """A window of an image, in whole pixels.

    Attributes:
        top, left: row and column of its first pixel.
        height, width: size; that of the image along a side on which the image is smaller than a tile.
    """

    top: int
    left: int
    height: int
    width: int


def cut(height: int, width: int, side: int, overlap: float) -> list[Tile]:
    """Cover an image with tiles, row by row.

    The tiles are spread evenly, so that neighbors share at least `overlap` of their side and none exceeds the image.

    Args:
        height, width: size of the image, pixels.
        side: side of a tile, pixels.
        overlap: share of the side, 0 to less than 1.
    """
    rows, columns = _starts(height, side, overlap), _starts(width, side, overlap)
    return [Tile(top, left, min(side, height), min(side, width)) for top in rows for left in columns]


def _starts(length: int, side: int, overlap: float) -> list[int]:
    if length <= side:
        return [0]
    step = max(1, math.floor(side * (1 - overlap)))
    last = math.ceil((length - side) / step)
    return [round(number * (length - side) / last) for number in range(last + 1)]
