"""Norms of a ResNet whose file leaves out their statistics.

The files of He et al. and the oldest of detectron2 have them worked into scale and shift.
"""

import re
from collections.abc import Mapping

import torch
from torch import Tensor

_SHIFT = re.compile(r"(.*(?:bn\d|downsample\.1)\.)bias")
_STATISTICS = {"running_mean": 0.0, "running_var": 1.0}
STATISTICS_MADE = "means of 0 and variances of 1, as detectron2 has it"


def statistics_left_out(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """What the norms go without, as detectron2 fills it in.

    Args:
        weights: by names that end as torchvision's do.

    Returns:
        By name: means of 0 and variances of 1.
    """
    made = {}
    for name, shift in weights.items():
        if match := _SHIFT.fullmatch(name):
            for statistic, number in _STATISTICS.items():
                if match[1] + statistic not in weights:
                    made[match[1] + statistic] = torch.full_like(shift, number)
    return made
