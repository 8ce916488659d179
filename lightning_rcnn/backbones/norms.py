"""Normalization layers for convolutions."""

from collections.abc import Callable
from functools import partial
from typing import Literal, get_args

from torch import nn
from torchvision.ops import FrozenBatchNorm2d

from lightning_rcnn.errors import InputError

NormName = Literal["batch_norm", "frozen_batch_norm", "group_norm"]


def norm_layer(norm: NormName, epsilon: float) -> Callable[[int], nn.Module]:
    """Return a function that builds the norm for a number of channels.

    Raises:
        InputError: the norm is unknown.
    """
    if norm not in get_args(NormName):
        raise InputError(f"norm {norm!r} is unknown; give one of {', '.join(get_args(NormName))}")
    if norm == "frozen_batch_norm":
        return partial(FrozenBatchNorm2d, eps=epsilon)
    if norm == "group_norm":
        return partial(nn.GroupNorm, 32, eps=epsilon)
    return partial(nn.BatchNorm2d, eps=epsilon)
