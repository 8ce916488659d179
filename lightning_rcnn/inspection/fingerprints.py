"""Recognize an image that occurs twice, also after another compression or a moderate change of size.

A perceptual hash (the signs of the 64 lowest frequencies of a 32 x 32 gray picture, about their median) finds
candidates, and pixels confirm them. A hash alone would not do: pictures of one microscope or one street camera look
alike at low frequencies. Crops, rotations and mirror images are not recognized.
"""

from collections.abc import Iterator

import cv2
import numpy as np

THUMBNAIL = 16
"""Pixels of an edge of the thumbnail, by which most candidates are rejected without reading their images."""
HASH_BITS_APART = 10
"""Most bits in which the hashes of candidates differ."""
THUMBNAIL_LEVELS_APART = 8.0
"""Largest mean difference of candidates' thumbnails, gray levels of 255."""
ASPECT_RATIOS_APART = 1.03
"""Largest quotient of candidates' aspect ratios."""
PICTURE_SIDE = 128
"""Pixels of the edges at which candidates are compared, less if an image is smaller."""
LEAST_CORRELATION = 0.8
"""Correlation of the details of two pictures, without what is smooth, that are one."""
LEAST_DETAIL = 0.25
"""Root mean square of the details of a picture, gray levels, below which there is nothing to compare."""
MOST_LEVELS_APART = 12.0
"""Largest mean difference of any of 8 x 8 blocks of two pictures that are one, gray levels of 255."""
_BLOCKS = 8
_BANDS, _BAND_BITS = 4, 16


def gray_of(pixels: np.ndarray) -> np.ndarray:
    """Convert RGB pixels uint8 [h, w, 3] to gray levels uint8 [h, w]."""
    return cv2.cvtColor(np.ascontiguousarray(pixels), cv2.COLOR_RGB2GRAY)


def perceptual_hash(gray: np.ndarray) -> int:
    """Compute the 64 bits of the hash of gray levels uint8 [h, w]."""
    small = cv2.resize(gray, (32, 32), interpolation=cv2.INTER_AREA).astype(np.float32)
    low = cv2.dct(small)[:8, :8].ravel()
    bits = low > np.median(low[1:])  # the first is the mean brightness
    return int.from_bytes(np.packbits(bits).tobytes())


def thumbnail(gray: np.ndarray) -> np.ndarray:
    """Scale gray levels uint8 [h, w] down to uint8 [`THUMBNAIL`^2]."""
    return cv2.resize(gray, (THUMBNAIL, THUMBNAIL), interpolation=cv2.INTER_AREA).ravel()


def candidate_pairs(hashes: np.ndarray, thumbnails: np.ndarray, aspect_ratios: np.ndarray) -> Iterator[tuple[int, int]]:
    """Yield pairs of images that may be one, each with the smaller number first.

    Hashes that differ in few bits agree, but for at most 2 bits, in one of four bands of 16 bits. So images are sorted
    by each band and looked up with each of its neighbors, instead of comparing all pairs.

    Args:
        hashes: uint64 [N].
        thumbnails: uint8 [N, `THUMBNAIL`^2].
        aspect_ratios: float [N], width / height.
    """
    seen: set[int] = set()
    flips = [0, *(1 << bit for bit in range(_BAND_BITS))]
    flips += [1 << high | 1 << low for high in range(_BAND_BITS) for low in range(high)]
    for band in range(_BANDS):
        keys = ((hashes >> np.uint64(_BAND_BITS * band)) & np.uint64(0xFFFF)).astype(np.int64)
        order = np.argsort(keys, kind="stable")
        first_of = np.searchsorted(keys[order], np.arange((1 << _BAND_BITS) + 1))
        for flip in flips:
            wanted = keys ^ flip
            for first, second in _joined(first_of[wanted], first_of[wanted + 1], order):
                near = np.bitwise_count(hashes[first] ^ hashes[second]) <= HASH_BITS_APART
                first, second = first[near], second[near]
                apart = np.abs(thumbnails[first].astype(np.int16) - thumbnails[second]).mean(axis=1)
                stretch = np.abs(np.log(aspect_ratios[first] / aspect_ratios[second]))
                near = (apart <= THUMBNAIL_LEVELS_APART) & (stretch <= np.log(ASPECT_RATIOS_APART))
                for one, other in zip(first[near].tolist(), second[near].tolist(), strict=True):
                    key = one * len(hashes) + other
                    if key not in seen:
                        seen.add(key)
                        yield one, other


def is_same_picture(one: np.ndarray, other: np.ndarray) -> bool:
    """Compare the pixels of two candidates, uint8 RGB [h, w, 3] of any size."""
    side = max(_BLOCKS, min(PICTURE_SIDE, *one.shape[:2], *other.shape[:2]))
    first, second = (_picture(pixels, side) for pixels in (one, other))
    apart = cv2.resize(np.abs(first - second), (_BLOCKS, _BLOCKS), interpolation=cv2.INTER_AREA)
    if apart.max() > MOST_LEVELS_APART:
        return False
    details = [(picture - cv2.GaussianBlur(picture, (0, 0), side / 16)).ravel() for picture in (first, second)]
    norms = [float(np.linalg.norm(detail)) for detail in details]
    return (
        min(norms) >= LEAST_DETAIL * side and float(details[0] @ details[1]) >= LEAST_CORRELATION * norms[0] * norms[1]
    )


def _picture(pixels: np.ndarray, side: int) -> np.ndarray:
    return cv2.resize(gray_of(pixels), (side, side), interpolation=cv2.INTER_AREA).astype(np.float32)


def _joined(
    starts: np.ndarray, ends: np.ndarray, order: np.ndarray, at_a_time: int = 1 << 22
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield pairs (i, j) with i < j for all j in `order[starts[i] : ends[i]]`, some millions at a time."""
    counts = ends - starts
    cuts = np.flatnonzero(np.diff(np.cumsum(counts) // at_a_time)) + 1
    for part in np.split(np.arange(len(counts)), cuts):
        first = np.repeat(part, counts[part])
        within = np.arange(len(first)) - np.repeat(np.cumsum(counts[part]) - counts[part], counts[part])
        second = order[np.repeat(starts[part], counts[part]) + within]
        is_ordered = first < second
        yield first[is_ordered], second[is_ordered]
