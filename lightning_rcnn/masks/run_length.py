"""Run-length encodings (RLE) of masks in COCO's form, from and to crops: the whole image is never laid out.

The pixels are read column by column; runs of 0 and 1 alternate, beginning with a run of 0 that may be empty. The COCO
API compresses the lengths to text (`rleToString` in its sources).

Shape letters: h, w height and width of a crop.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from pycocotools import mask as coco_mask

RunLength = dict[str, Any]
"""A mask of a whole image: {"size": [height, width], "counts": str}, the lengths compressed."""

_MOST_CHARACTERS = 8
"""In the text of one number: 40 bits, more than any image has pixels."""


def encode_crop(crop: np.ndarray, top: int, left: int, height: int, width: int) -> RunLength:
    """The RLE of a mask that is empty outside of a crop.

    Args:
        crop: bool [h, w]; may be empty.
        top, left: where its first pixel lies in the image.
        height, width: of the image.
    """
    crop_height, crop_width = crop.shape
    columns = np.zeros((crop_width, crop_height + 2), np.bool_)  # each one between two pixels of background
    columns[:, 1:-1] = crop.T
    pixels = columns.ravel()
    column, row = np.divmod(np.flatnonzero(pixels[1:] != pixels[:-1]), crop_height + 2)
    borders = (left + column) * height + top + row
    joined = borders[1:] == borders[:-1]  # a run that goes on at the head of the next column
    is_border = np.ones(len(borders), np.bool_)
    is_border[1:] &= ~joined
    is_border[:-1] &= ~joined
    runs = np.diff(borders[is_border], prepend=0, append=height * width)
    return encode_runs(runs[:-1] if runs[-1] == 0 and len(runs) > 1 else runs, height, width)


def encode_runs(runs: np.ndarray | list[int], height: int, width: int) -> RunLength:
    """The RLE with these lengths of runs, which add up to height x width."""
    compressed = coco_mask.frPyObjects({"size": [height, width], "counts": runs}, height, width)
    return {"size": [height, width], "counts": compressed["counts"].decode("ascii")}


def encode_polygons(polygons: Sequence[Sequence[float]], height: int, width: int) -> RunLength:
    """The RLE of the pixels that the COCO API takes to be in any of the polygons; it never lays out the image either.

    Args:
        polygons: x, y by turns, in pixels; at least three points each.
        height, width: of the image.
    """
    merged = coco_mask.merge(coco_mask.frPyObjects(polygons, height, width))
    return {"size": [height, width], "counts": merged["counts"].decode("ascii")}


def decode_crop(rle: RunLength, margin: int = 0) -> tuple[np.ndarray, int, int]:
    """The smallest crop that holds a mask; the inverse of `encode_crop`.

    Args:
        rle: the mask.
        margin: pixels of background on each side of it, as far as the image reaches.

    Returns:
        The crop, bool [h, w], 0 x 0 for a mask of no pixel; and the row and the column of its first pixel in the image.

    Raises:
        ValueError: the counts are no text that stands for lengths of runs, or these do not add up to the image.
    """
    height, width = rle["size"]
    runs = decode_runs(rle["counts"])
    borders = np.cumsum(runs)
    if not len(runs) or runs.min() < 0 or borders[-1] != height * width:
        raise ValueError(f"the runs of an RLE do not add up to {height} x {width} pixels")
    num = len(borders) // 2
    starts, ends = borders[0 : 2 * num : 2], borders[1::2]
    filled = starts < ends
    if not filled.any():
        return np.zeros((0, 0), np.bool_), 0, 0
    first_columns, first_rows = np.divmod(starts[filled], height)
    last_columns, last_rows = np.divmod(ends[filled] - 1, height)
    top, bottom = int(first_rows.min()), int(last_rows.max()) + 1
    if np.any(first_columns != last_columns):  # a run leaves one column at the foot and enters the next at the head
        top, bottom = 0, height
    top, bottom = max(0, top - margin), min(height, bottom + margin)
    left, right = max(0, int(first_columns[0]) - margin), min(width, int(last_columns[-1]) + 1 + margin)
    crop_height = bottom - top
    # Both steps may fall on one pixel, where a run ends at the crop's foot and the next one begins at its head.
    steps = np.zeros((right - left) * crop_height + 1, np.int8)
    steps[(first_columns - left) * crop_height + first_rows - top] += 1
    steps[(last_columns - left) * crop_height + last_rows - top + 1] -= 1
    pixels = np.cumsum(steps[:-1], dtype=np.int8).view(np.bool_)
    return pixels.reshape(right - left, crop_height).T, top, left


def decode_runs(counts: str) -> np.ndarray:
    """The lengths of the runs, int64, in a compressed RLE.

    Six bits of each character count from "0": five of value, lowest first, one that says whether more follow. From the
    fourth run on, the difference from the run before the previous one is stored.

    Raises:
        ValueError: not such a text. Lengths that are negative or do not fit the image are for the caller to find.
    """
    bits = np.frombuffer(counts.encode("latin-1"), np.uint8).astype(np.int64) - ord("0")
    if not len(bits):
        return bits
    if bits.min() < 0 or bits.max() >= 64:
        raise ValueError("the text of an RLE holds a character that cannot stand there")
    ends = np.flatnonzero(bits < 0x20)
    if not len(ends) or ends[-1] != len(bits) - 1:
        raise ValueError("the text of an RLE ends inside of a number")
    lengths = np.diff(ends, prepend=-1)
    if lengths.max() > _MOST_CHARACTERS:
        raise ValueError("the text of an RLE holds a number larger than any image")
    starts = ends - lengths + 1
    shifts = 5 * (np.arange(len(bits)) - np.repeat(starts, lengths))
    runs = np.add.reduceat((bits & 0x1F) << shifts, starts)
    runs -= np.where(bits[ends] & 0x10, np.int64(1) << 5 * lengths, 0)  # the highest bit is the sign
    runs[1::2] = np.cumsum(runs[1::2])
    runs[2::2] = np.cumsum(runs[2::2])
    return runs
