"""Drawing a fixed number of positives and negatives without a host sync.

Random keys come from a counter, not from a generator's state: the key of a box depends on (seed of the step, image,
position) only. So the draw does not change with the number of ranks, the batch it is part of, or a resume.
"""

from typing import NamedTuple

import torch
from torch import Tensor

_MASK = 0xFFFFFFFF


class Samples(NamedTuple):
    """S boxes drawn per image, positives first.

    Attributes:
        indices: int64 [N, S] into the boxes drawn from.
        is_positive: bool [N, S].
        is_valid: bool [N, S]; False where there were not enough boxes.
    """

    indices: Tensor
    is_positive: Tensor
    is_valid: Tensor


def random_keys(seed: Tensor, image_ids: Tensor, num: int) -> Tensor:
    """Uniform keys in [0, 1), float32 [N, num].

    Args:
        seed: int64 scalar, new in every step.
        image_ids: int64 [N].
        num: keys per image.
    """
    position = torch.arange(num, device=image_ids.device)
    image = _mix(image_ids * 0x9E3779B1 + _mix(seed & _MASK))
    return (_mix(image[:, None] + position * 0x85EBCA77) >> 8).float() * 2.0**-24


def _mix(value: Tensor) -> Tensor:
    """Spread the low 32 bits over all 32 (the finalizer of MurmurHash3, public domain)."""
    value = value & _MASK
    value = ((value ^ (value >> 16)) * 0x85EBCA6B) & _MASK
    value = ((value ^ (value >> 13)) * 0xC2B2AE35) & _MASK
    return value ^ (value >> 16)


def sample_balanced(
    is_positive: Tensor, is_negative: Tensor, keys: Tensor, num_samples: int, positive_fraction: float
) -> Samples:
    """Draw positives up to a fraction, and fill up with negatives.

    Args:
        is_positive, is_negative: bool [N, B], never both.
        keys: float32 [N, B] in [0, 1), random.
        num_samples: wanted per image; S = min(num_samples, B).
        positive_fraction: of `num_samples`, rounded down.
    """
    num_boxes = is_positive.shape[1]
    max_positives = min(int(num_samples * positive_fraction), num_boxes)
    drawn = torch.where(is_positive, keys, -1.0).topk(max_positives, dim=1)
    is_drawn = torch.zeros_like(is_positive).scatter(1, drawn.indices, drawn.values >= 0)
    # Drawn positives rank above all negatives, whatever can't be drawn below them.
    priority = torch.where(is_drawn, keys + 2, torch.where(is_negative, keys, -1.0))
    value, indices = priority.topk(min(num_samples, num_boxes), dim=1)
    return Samples(indices, value >= 2, value >= 0)
