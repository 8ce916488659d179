"""Add noise to images, from random bits that are the same on every machine."""

from dataclasses import replace
from functools import cache
from statistics import NormalDist

import numpy as np
import torch

from lightning_rcnn.data.transforms.base import Random, TrainingImage, Transform
from lightning_rcnn.data.transforms.checks import limits, probability

_BLOCK = 1 << 16
_LEVELS = 2**16
"""Number of values of a normal number, from 16 random bits: none is beyond 4.3 standard deviations."""


class Noise(Transform):
    """Adds Gaussian noise to each value of an image, as a camera does in poor light.

    Args:
        p: probability, 0 to 1.
        sigma: smallest and largest standard deviation, as a fraction of full brightness, 0 to 1.

    Raises:
        InputError: `p` is not a probability, or `sigma` is out of range.
    """

    def __init__(self, p: float = 0.1, sigma: tuple[float, float] = (0.0, 0.1)) -> None:
        self.p = probability("Noise", p)
        self.sigma = limits("Noise", "sigma", sigma, 0, 1)

    def __call__(self, sample: TrainingImage, random: Random) -> TrainingImage:
        """Add noise to the image."""
        is_noisy, sigma, seed = random.uniform() < self.p, random.uniform(*self.sigma), random.integer()
        if not is_noisy:
            return sample
        is_whole = sample.image.dtype == torch.uint8
        noise_of_bits = 255 * sigma * _normal_quantiles()
        noise_of_bits = np.rint(noise_of_bits).astype(np.int16) if is_whole else noise_of_bits.astype(np.float32)
        noise = _looked_up(noise_of_bits, _random_bits(seed, sample.image.numel())).reshape(sample.image.shape)
        noise += sample.image.numpy()
        noisy = np.clip(noise, 0, 255).astype(np.uint8 if is_whole else np.float32)
        return replace(sample, image=torch.from_numpy(noisy))


def _looked_up(table: np.ndarray, indices: np.ndarray) -> np.ndarray:
    """Return `table[indices]`, some at a time: numpy makes 8 bytes of each index."""
    values = np.empty(indices.shape, table.dtype)
    for start in range(0, len(indices), _BLOCK):
        block = slice(start, start + _BLOCK)
        np.take(table, indices[block], out=values[block], mode="clip")
    return values


def _random_bits(seed: int, number: int) -> np.ndarray:
    """Return uint16 [number]. numpy keeps the bits of a seed in all versions, unlike the normal numbers it draws."""
    words = np.random.PCG64(seed).random_raw(-(-number // 4))
    return np.asarray(words).astype("<u8").view("<u2")[:number]


@cache
def _normal_quantiles() -> np.ndarray:
    """Return the normal number of each value of 16 bits, the middle of its quantile; float64 [65536]."""
    quantile = NormalDist().inv_cdf
    return np.array([quantile((level + 0.5) / _LEVELS) for level in range(_LEVELS)])
