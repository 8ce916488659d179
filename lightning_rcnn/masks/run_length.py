"""Run-length encodings (RLE) of masks in COCO's format, from and to crops, without a mask of the whole image.

Pixels are read column by column; runs of 0 and 1 alternate, beginning with a run of 0 that may be empty. The COCO API
compresses the lengths to text (`rleToString` in its sources).

Shape letters: h, w height and width of a crop, m masks, r runs of 1 of all masks.
"""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import cv2
import numpy as np
from pycocotools import mask as coco_mask

RunLength = dict[str, Any]
"""A mask of a whole image: {"size": [height, width], "counts": str}, the lengths compressed."""

MAX_PIXELS = (1 << 32) - 1
"""Pixels of the largest image: the COCO API counts them in 32 bits."""
_MAX_CHARACTERS = 8
"""Characters in the text of one number: 40 bits, more than any image has pixels."""


class Crop(NamedTuple):
    """The part of an image that holds a mask.

    Attributes:
        pixels: bool [h, w].
        top, left: row and column of the first pixel in the image.
    """

    pixels: np.ndarray
    top: int
    left: int


def encode_crop(crop: np.ndarray, top: int, left: int, height: int, width: int) -> RunLength:
    """Encode a mask that is empty outside a crop.

    Args:
        crop: bool [h, w]; may be empty.
        top, left: row and column of its first pixel in the image.
        height, width: size of the image, pixels.
    """
    crop_height, crop_width = crop.shape
    columns = np.zeros((crop_width, crop_height + 2), np.bool_)  # each column between two pixels of background
    columns[:, 1:-1] = crop.T
    pixels = columns.ravel()
    column, row = np.divmod(np.flatnonzero(pixels[1:] != pixels[:-1]), crop_height + 2)
    borders = (left + column) * height + top + row
    joined = borders[1:] == borders[:-1]  # a run that continues at the top of the next column
    is_border = np.ones(len(borders), np.bool_)
    is_border[1:] &= ~joined
    is_border[:-1] &= ~joined
    runs = np.diff(borders[is_border], prepend=0, append=height * width)
    return encode_runs(runs[:-1] if runs[-1] == 0 and len(runs) > 1 else runs, height, width)


def encode_runs(runs: np.ndarray | list[int], height: int, width: int) -> RunLength:
    """Compress lengths of runs, which add up to height x width, to an RLE."""
    compressed = coco_mask.frPyObjects({"size": [height, width], "counts": runs}, height, width)
    return {"size": [height, width], "counts": compressed["counts"].decode("ascii")}


def encode_polygons(polygons: Sequence[Sequence[float]], height: int, width: int) -> RunLength:
    """Encode the pixels that the COCO API sets for a list of polygons.

    Args:
        polygons: lists [x, y, x, y, ...] in pixels, of at least three points each.
        height, width: size of the image, pixels.
    """
    merged = coco_mask.merge(coco_mask.frPyObjects(polygons, height, width))
    return {"size": [height, width], "counts": merged["counts"].decode("ascii")}


def decode_crop(rle: RunLength, margin: int = 0) -> Crop:
    """Decode the smallest crop that holds a mask; see `decode_crops`."""
    (crop,) = decode_crops([rle], margin)
    return crop


def decode_crops(rles: Sequence[RunLength], margin: int = 0) -> Iterator[Crop]:
    """Decode the smallest crops that hold masks, one after the other, so that the pixels of only one are in memory.

    All texts are decompressed at once, to the bits of all crops, which is several times as fast for hundreds of masks.

    Args:
        rles: masks of one or several images.
        margin: pixels of background on each side of a mask, as far as its image extends.

    Yields:
        A crop for each mask; 0 x 0 for a mask without pixels.

    Raises:
        ValueError: a text is not an RLE, or its runs do not add up to the image.
    """
    heights, widths, offsets, first, last = spans = _spans(rles)
    owner = np.repeat(np.arange(len(rles)), np.diff(offsets))
    left, top, right, bottom = _edges(spans, owner)
    left, top = np.maximum(left - margin, 0), np.maximum(top - margin, 0)
    right, bottom = np.minimum(right + margin, widths), np.minimum(bottom + margin, heights)

    crop_height, crop_width = bottom - top, right - left
    offset = (left * crop_height + top)[owner]
    starts = first.column * crop_height[owner] + first.row - offset
    ends = last.column * crop_height[owner] + last.row + 1 - offset
    num_pixels = np.where(np.diff(offsets) > 0, crop_height * crop_width, 0)  # a margin alone is no crop
    bits, first_byte = _filled(starts, ends, num_pixels, owner)
    frames = np.stack([crop_height, crop_width, top, left, first_byte, num_pixels], axis=1).tolist()
    for height, width, y, x, begin, count in frames:
        if not count:
            yield Crop(np.zeros((0, 0), np.bool_), 0, 0)
            continue
        columns = np.unpackbits(bits[begin : begin + (count + 7) // 8], count=count, bitorder="little")
        # OpenCV transposes several times as fast as numpy.
        yield Crop(cv2.transpose(columns.reshape(width, height)).view(np.bool_), y, x)


def edges_of_mask(rle: RunLength) -> tuple[int, int, int, int] | None:
    """Return the edges x1, y1, x2, y2 of the smallest crop that holds a mask; None for one without pixels.

    Unlike the COCO API's `toBbox`, it passes over empty runs, which other programs write.

    Raises:
        ValueError: see `decode_crops`.
    """
    spans = _spans([rle])
    if not spans.offsets[-1]:
        return None
    x1, y1, x2, y2 = (int(edge[0]) for edge in _edges(spans, np.zeros(spans.offsets[-1], np.int64)))
    return x1, y1, x2, y2


def resize(rle: RunLength, height: int, width: int) -> RunLength:
    """Resize a mask to another image size; see `resize_crop`."""
    return encode_crop(*resize_crop(decode_crop(rle), rle["size"], (height, width)), height, width)


def resize_crop(crop: Crop, old_size: Sequence[int], size: tuple[int, int]) -> Crop:
    """Resize a mask by nearest neighbor: each pixel takes the old pixel that holds its center.

    Args:
        crop: pixels of the mask.
        old_size, size: (height, width) of the image before and after, in pixels.
    """
    (old_height, old_width), (height, width) = old_size, size
    rows = (2 * np.arange(height) + 1) * old_height // (2 * height) - crop.top
    columns = (2 * np.arange(width) + 1) * old_width // (2 * width) - crop.left
    new_rows = np.flatnonzero((rows >= 0) & (rows < crop.pixels.shape[0]))
    new_columns = np.flatnonzero((columns >= 0) & (columns < crop.pixels.shape[1]))
    pixels = crop.pixels[np.ix_(rows[new_rows], columns[new_columns])]
    return Crop(pixels, int(new_rows.min(initial=height)), int(new_columns.min(initial=width)))


def decode_runs(counts: str) -> np.ndarray:
    """Decompress the lengths of the runs of an RLE, int64.

    The caller must check that no length is negative and that they add up to the image.

    Raises:
        ValueError: the text is not a compressed RLE.
    """
    return _decode_texts([counts])[0]


class _Pixels(NamedTuple):
    """Positions of pixels in images, int64 [r]."""

    column: np.ndarray
    row: np.ndarray


class _Spans(NamedTuple):
    """The runs of 1 of several masks, one mask after the other.

    Attributes:
        heights, widths: int64 [m], sizes of the images.
        offsets: int64 [m + 1]; mask i has the runs from offsets[i] to before offsets[i + 1].
        first, last: first and last pixels of the r runs.
    """

    heights: np.ndarray
    widths: np.ndarray
    offsets: np.ndarray
    first: _Pixels
    last: _Pixels


def _spans(rles: Sequence[RunLength]) -> _Spans:
    heights, widths = np.array([rle["size"] for rle in rles], np.int64).reshape(-1, 2).T
    runs, num_runs = _decode_texts([rle["counts"] for rle in rles])
    stops = np.cumsum(num_runs)
    borders = _cumsum_within(runs, stops - num_runs, num_runs)
    if runs.min(initial=0) < 0 or np.any(num_runs == 0) or np.any(borders[stops - 1] != heights * widths):
        raise ValueError("the runs of an RLE do not add up to the size of its image")
    is_one = (np.arange(len(runs)) - np.repeat(stops - num_runs, num_runs)) % 2 == 1
    ones = np.flatnonzero(is_one & (runs > 0))
    owner = np.repeat(np.arange(len(rles)), num_runs)[ones]
    first = _Pixels(*np.divmod(borders[ones - 1], heights[owner]))
    last = _Pixels(*np.divmod(borders[ones] - 1, heights[owner]))
    return _Spans(heights, widths, np.searchsorted(owner, np.arange(len(rles) + 1)), first, last)


def _edges(spans: _Spans, owner: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return left, top, right and bottom of each mask, int64 [m].

    Args:
        spans: runs of 1 of the masks.
        owner: int64 [r], the number of the mask of each run.
    """
    heights, _, offsets, first, last = spans
    is_split = first.column != last.column  # the run leaves a column at the bottom and enters the next at the top
    return (
        _reduce(np.minimum, first.column, offsets),
        _reduce(np.minimum, np.where(is_split, 0, first.row), offsets),
        _reduce(np.maximum, last.column, offsets) + 1,
        _reduce(np.maximum, np.where(is_split, heights[owner] - 1, last.row), offsets) + 1,
    )


def _filled(
    starts: np.ndarray, ends: np.ndarray, num_pixels: np.ndarray, owner: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Set the bits of all runs of 1, which is several times as fast as to add up steps pixel by pixel.

    A bit at each border of a run says that the pixels change there. A pixel is the parity of the bits up to it: within
    a word of 64 bits by six shifts, then with the parity of the words before.

    Args:
        starts, ends: int64 [r], first pixel of each run and the one behind it, in the pixels of its mask.
        num_pixels: int64 [m].
        owner: int64 [r], the number of the mask of each run.

    Returns:
        uint8 [B], the lowest bit of a byte first, each mask from a new word on; and the first byte of each mask [m].
    """
    num_words = num_pixels // 64 + 1  # with room for a border behind the last pixel, so that each parity ends even
    first_word = np.cumsum(num_words) - num_words
    borders = np.stack([starts, ends], axis=1) + 64 * first_word[owner, None]
    word, bit = np.divmod(borders.ravel(), 64)
    words = np.zeros(num_words.sum(), "<u8")
    if len(word):
        is_first = np.flatnonzero(np.diff(word, prepend=-1))
        # Two borders may be one pixel: where a run ends at the bottom of a crop, the next may begin at its top.
        words[word[is_first]] = np.bitwise_xor.reduceat(np.uint64(1) << bit.astype(np.uint64), is_first)
    for shift in (1, 2, 4, 8, 16, 32):
        words ^= words << np.uint64(shift)
    parity = np.bitwise_xor.accumulate(words >> np.uint64(63))
    words[1:] ^= -parity[:-1]
    return words.view(np.uint8), 8 * first_word


def _decode_texts(texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Decompress the lengths of the runs of RLEs; return them one RLE after the other, and the number of runs of each.

    Each character, counted from "0", has six bits: five bits of the value, lowest first, and one that is set if more
    characters follow. From the fourth run on, the difference from the run before the previous one is stored.
    """
    bits = np.frombuffer("".join(texts).encode("latin-1"), np.uint8).astype(np.int64) - ord("0")
    if len(bits) and (bits.min() < 0 or bits.max() >= 64):
        raise ValueError("the text of an RLE has an invalid character")
    is_last = bits < 0x20
    text_ends = np.cumsum([len(text) for text in texts], dtype=np.int64)
    if not is_last[text_ends[text_ends > 0] - 1].all():
        raise ValueError("the text of an RLE ends within a number")
    lasts = np.flatnonzero(is_last)
    lengths = np.diff(lasts, prepend=-1)
    if lengths.max(initial=0) > _MAX_CHARACTERS:
        raise ValueError("the text of an RLE has a number larger than any image")
    firsts = lasts - lengths + 1
    shifts = 5 * (np.arange(len(bits)) - np.repeat(firsts, lengths))
    numbers = np.add.reduceat((bits & 0x1F) << shifts, firsts) if len(firsts) else lasts
    numbers -= np.where(bits[lasts] & 0x10, np.int64(1) << 5 * lengths, 0)  # the highest bit is the sign
    num_runs = np.diff(np.searchsorted(lasts, text_ends), prepend=0)
    return _undo_differences(numbers, num_runs), num_runs


def _undo_differences(numbers: np.ndarray, num_runs: np.ndarray) -> np.ndarray:
    first_run = np.cumsum(num_runs) - num_runs
    index = np.arange(len(numbers)) - np.repeat(first_run, num_runs)
    is_odd = index % 2 == 1
    of_odd = _cumsum_within(np.where(is_odd, numbers, 0), first_run, num_runs)
    of_even = _cumsum_within(np.where(is_odd | (index == 0), 0, numbers), first_run, num_runs)
    return np.where(index == 0, numbers, np.where(is_odd, of_odd, of_even))


def _cumsum_within(values: np.ndarray, firsts: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Compute cumulative sums within each of the pieces that start at `firsts`."""
    sums = np.concatenate([[0], np.cumsum(values)])
    return sums[1:] - np.repeat(sums[firsts], counts)


def _reduce(reduce: np.ufunc, values: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """Compute the minima or maxima of the pieces of `values` between `offsets`; 0 for an empty piece."""
    results = np.zeros(len(offsets) - 1, np.int64)
    is_filled = offsets[1:] > offsets[:-1]
    results[is_filled] = reduce.reduceat(values, offsets[:-1][is_filled])
    return results
