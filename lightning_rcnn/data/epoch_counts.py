"""Round how often an epoch has each sample on average to how often this epoch has it: integers in, integers out.

A sample with the average 2.3 occurs twice in every epoch, and a third time in three of ten: always its average rounded
up or down. All epochs have the same number of entries, so that Lightning knows the number of steps before it starts.

Shape letter: N samples.
"""

import hashlib
import math
from dataclasses import dataclass

import numpy as np

from lightning_rcnn.data.plan import random_keys

MAX_EPOCH_SIZE = 2**30
"""Largest number of entries of an epoch; the sums below stay within 63 bits."""
_BITS = 32


@dataclass(frozen=True)
class EpochCounts:
    """Average numbers of entries of the samples in an epoch.

    Attributes:
        units: averages in units of 2**-32, int64 [N]; integers, so that all machines round the same way.
    """

    units: np.ndarray

    @property
    def averages(self) -> np.ndarray:
        """Average number of entries of each sample, float64 [N]."""
        return self.units * 2.0**-_BITS

    @property
    def fingerprint(self) -> str:
        """Sha256 of the averages."""
        return hashlib.sha256(self.units.tobytes()).hexdigest()

    @property
    def size(self) -> int:
        """Number of entries in every epoch: the sum of the averages, rounded down."""
        return int(self.units.sum()) >> _BITS

    def draw(self, seed: int, epoch: int) -> np.ndarray:
        """Draw the number of entries of each sample in an epoch, int64 [N].

        Systematic sampling: the fractions lie end to end on a line, in an order of this epoch, and points at equal
        distances, the first one random, select the samples that are rounded up. So the sum is the same in every epoch,
        and the chance of a sample is its fraction (times a factor that rounds the sum of the fractions down).
        """
        counts = self.units >> _BITS
        fractions = self.units - (counts << _BITS)
        num_points = self.size - int(counts.sum())
        if num_points == 0:
            return counts
        order = np.argsort(random_keys(len(fractions), seed, epoch, "repeats"))
        ends = np.cumsum(fractions[order])
        length = int(ends[-1])
        start = int(random_keys(1, seed, epoch, "repeats from")[0]) % length
        # Point p is at (start + p * length) / num_points. The distance is at least 1, longer than any fraction.
        step, rest = divmod(length, num_points)
        points = np.arange(num_points) * step + (start + np.arange(num_points) * rest) // num_points
        counts[order[np.searchsorted(ends, points, side="right")]] += 1
        return counts


def epoch_counts(averages: np.ndarray, size: int | None = None) -> EpochCounts:
    """Convert averages to integers.

    Args:
        averages: average number of entries of each sample in an epoch, float64 [N].
        size: number of entries in every epoch, to which the averages are scaled; by default their sum rounded down.
    """
    if size is not None:
        averages = averages * (size / math.fsum(averages))
    units = np.rint(averages * 2.0**_BITS).astype(np.int64)
    missing = (size << _BITS) - int(units.sum()) if size is not None else -int(units.sum()) % (1 << _BITS)
    # A sum that is whole but for what was rounded, below 2**-32 a sample, is whole.
    if size is not None or missing <= len(units):
        units[units.argmax()] += missing
    return EpochCounts(units)
