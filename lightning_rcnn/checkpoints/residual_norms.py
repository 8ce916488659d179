"""Statistics of ResNet norms that a file lacks.

The files of He et al. and the oldest of detectron2 fold them into scale and shift.
"""

import re
from collections.abc import Mapping

import torch
from torch import Tensor

_SHIFT = re.compile(r"(.*(?:bn\d|downsample\.1)\.)bias")
_STATISTICS = {"running_mean": 0.0, "running_var": 1.0}
_COUNTER = "num_batches_tracked"
COUNTERS_MADE = "zero: the file does not count the steps"
STATISTICS_MADE = "means of 0 and variances of 1, as detectron2 has it"


def statistics_left_out(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the missing statistics of the norms, with the values of detectron2.

    Args:
        weights: weights by names that end like torchvision's.

    Returns:
        Name -> means of 0 or variances of 1.
    """
    made = {}
    for name, shift in weights.items():
        if match := _SHIFT.fullmatch(name):
            for statistic, number in _STATISTICS.items():
                if match[1] + statistic not in weights:
                    made[match[1] + statistic] = torch.full_like(shift, number)
    return made


def counters_left_out(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the missing counters of batch norms that train, as zeros; they count for nothing but an average.

    Args:
        weights: weights by our names.

    Returns:
        Name -> 0.
    """
    norms = [name.removesuffix("running_mean") for name in weights if name.endswith(".running_mean")]
    return {norm + _COUNTER: torch.tensor(0) for norm in norms if norm + _COUNTER not in weights}
