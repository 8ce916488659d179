"""Normalization layers for convolutions."""

from collections.abc import Callable
from functools import partial
from typing import Literal, get_args

from torch import Tensor, nn
from torchvision.ops import FrozenBatchNorm2d

from lightning_rcnn.errors import InputError

NormName = Literal["batch_norm", "frozen_batch_norm", "group_norm", "layer_norm"]


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
    if norm == "layer_norm":
        return partial(ChannelNorm, epsilon=epsilon)
    return partial(nn.BatchNorm2d, eps=epsilon)


class ChannelNorm(nn.LayerNorm):
    """Layer norm over the channels of each position of a map [N, C, H, W]."""

    def __init__(self, channels: int, epsilon: float) -> None:
        super().__init__(channels, eps=epsilon)

    def forward(self, maps: Tensor) -> Tensor:
        """Normalize maps [N, C, H, W]."""
        return super().forward(maps.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
