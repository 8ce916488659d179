"""The norms that a network's convolutions can be followed by."""

from collections.abc import Callable
from functools import partial
from typing import Literal

from torch import nn
from torchvision.ops import FrozenBatchNorm2d

NormName = Literal["batch_norm", "frozen_batch_norm", "group_norm"]


def norm_layer(norm: NormName, epsilon: float) -> Callable[[int], nn.Module]:
    """A function from a number of channels to the norm for them."""
    if norm == "frozen_batch_norm":
        return partial(FrozenBatchNorm2d, eps=epsilon)
    if norm == "group_norm":
        return partial(nn.GroupNorm, 32, eps=epsilon)
    return partial(nn.BatchNorm2d, eps=epsilon)
