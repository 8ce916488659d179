"""The pixels and weights from which each pixel along one axis of a resized image is computed, as whole numbers.

An operator that resizes by such a table (`render.py`) computes with integers only, whose sums depend on no device.

Sources: the integer weights are those of `torch.nn.functional.interpolate` with antialiasing on bytes
(`UpSampleKernel.cpp`), and with 22 bits those of Pillow (`Resample.c`).

Shape letters: m pixels of the resized axis, k taps of each.
"""

import math
from functools import lru_cache
from typing import Literal, NamedTuple

import numpy as np

TapsRule = Literal["antialiased", "pillow", "linear"]
"""`antialiased` averages by a triangle twice as wide as a new pixel, with weights of 16 bits, as torch does; `pillow`
the same with weights of 22 bits; `linear` interpolates between two pixels."""
PILLOW_BITS = 22
_WEIGHT_LIMIT = 1 << 15
_CACHED = 512


class AxisTaps(NamedTuple):
    """Taps of one axis.

    Attributes:
        table: int32 [m, 1 + k], not to be changed: the first pixel, and the weights of it and of the next ones.
        bits: the weights of a pixel add up to about 2 ** bits.
    """

    table: np.ndarray
    bits: int

    @property
    def num_taps(self) -> int:
        """Number of taps, k."""
        return self.table.shape[1] - 1


@lru_cache(_CACHED)
def axis_taps(length: int, new_length: int, rule: TapsRule) -> AxisTaps:
    """Return the taps of an axis; the last few hundred are kept, as few sizes occur.

    Args:
        length: number of pixels before, at least 1.
        new_length: number of pixels after, at least 1.
        rule: what the weights are.
    """
    first, weights = _linear(length, new_length) if rule == "linear" else _triangles(length, new_length)
    bits = _torch_bits(weights.max()) if rule == "antialiased" else PILLOW_BITS
    whole = (0.5 + weights * (1 << bits)).astype(np.int32)
    return AxisTaps(np.concatenate([first[:, None].astype(np.int32), whole], axis=1), bits)


def _triangles(length: int, new_length: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the first pixel [m] and the weights [m, k] of a triangle around the center of each new pixel."""
    scale = length / new_length
    reach, slope = max(1.0, scale), min(1.0, 1.0 / scale)
    center = scale * (np.arange(new_length) + 0.5)
    first = np.maximum((center - reach + 0.5).astype(np.int64), 0)
    counts = np.minimum((center + reach + 0.5).astype(np.int64), length) - first
    tap = np.arange(min(2 * math.ceil(reach) + 1, counts.max()))
    weights = np.maximum(1.0 - np.abs((tap + first[:, None] - center[:, None] + 0.5) * slope), 0.0)
    weights[tap >= counts[:, None]] = 0.0
    total = np.zeros(new_length)
    for of_tap in weights.T:  # one after the other, as torch and Pillow add them
        total += of_tap
    return first, weights / total[:, None]


def _linear(length: int, new_length: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the first pixel [m] and the weights [m, 2] of the two pixels around the center of each new one."""
    scale = np.float32(length) / np.float32(new_length)
    position = np.maximum(scale * (np.arange(new_length, dtype=np.float32) + np.float32(0.5)) - np.float32(0.5), 0)
    first = np.minimum(position.astype(np.int64), length - 1)
    share = np.where(first == length - 1, 0.0, position - first)
    return first, np.stack([1.0 - share, share], axis=1)


def _torch_bits(largest: float) -> int:
    """Return the number of bits with which the largest weight still fits 16 bits with a sign."""
    bits = 0
    while bits < PILLOW_BITS and int(0.5 + largest * (1 << (bits + 1))) < _WEIGHT_LIMIT:
        bits += 1
    return bits
