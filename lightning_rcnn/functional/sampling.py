"""Sampling of a fixed number of positives and negatives, without a host sync.

Random keys come from a counter-based generator: the key of a box depends only on (seed of the step, image, position).
So samples do not change with the number of ranks, the other images of the batch, or a resume.

Shape letters: N images, B boxes of an image, S samples of an image.
"""

from typing import NamedTuple

import torch
from torch import Tensor

_MASK = 0xFFFFFFFF


class Samples(NamedTuple):
    """Samples of each image, positives first.

    Attributes:
        indices: int64 [N, S], indices of the sampled boxes.
        is_positive: bool [N, S].
        is_valid: bool [N, S]; False if there were not enough boxes.
    """

    indices: Tensor
    is_positive: Tensor
    is_valid: Tensor


def random_keys(seed: Tensor, image_ids: Tensor, num: int) -> Tensor:
    """Compute uniform random keys in [0, 1), float32 [N, num].

    Args:
        seed: int64 scalar, a new one in every step.
        image_ids: int64 [N].
        num: number of keys per image.
    """
    position = torch.arange(num, device=image_ids.device)
    image = _mix(image_ids * 0x9E3779B1 + _mix(seed & _MASK))
    return (_mix(image[:, None] + position * 0x85EBCA77) >> 8).float() * 2.0**-24


def _mix(value: Tensor) -> Tensor:
    """Hash 32 bits (the finalizer of MurmurHash3, public domain)."""
    value = value & _MASK
    value = ((value ^ (value >> 16)) * 0x85EBCA6B) & _MASK
    value = ((value ^ (value >> 13)) * 0xC2B2AE35) & _MASK
    return value ^ (value >> 16)


def sample_balanced(
    is_positive: Tensor, is_negative: Tensor, keys: Tensor, num_samples: int, positive_fraction: float
) -> Samples:
    """Sample positives up to a fraction, and fill up with negatives.

    Args:
        is_positive, is_negative: bool [N, B], never both True.
        keys: float32 [N, B], random keys in [0, 1).
        num_samples: maximum per image; S = min(num_samples, B).
        positive_fraction: maximum fraction of `num_samples` that is positive; the number is rounded down.
    """
    num_boxes = is_positive.shape[1]
    max_positives = min(int(num_samples * positive_fraction), num_boxes)
    positives = torch.where(is_positive, keys, -1.0).topk(max_positives, dim=1)
    is_sampled = torch.zeros_like(is_positive).scatter(1, positives.indices, positives.values >= 0)
    # Sampled positives rank above all negatives, and boxes that are neither rank last.
    priority = torch.where(is_sampled, keys + 2, torch.where(is_negative, keys, -1.0))
    value, indices = priority.topk(min(num_samples, num_boxes), dim=1)
    return Samples(indices, value >= 2, value >= 0)
