"""Weights of a first convolution, trained on RGB, for images of any number of channels.

The rule is timm's (`adapt_input_conv`): of one channel the sum over the colors, so that gray images give what they gave
as RGB; of others the colors repeated in their order, scaled by 3 / C, which keeps the size of the sum.

Shape letters: O output channels, C input channels, k side of the kernel.
"""

from collections.abc import Mapping

import torch
from torch import Tensor

_COLORS = 3


def adapt_stem(weight: Tensor, channels: int) -> Tensor:
    """Return the weight [O, C, k, k] of a convolution for C channels from one for three colors, [O, 3, k, k]."""
    if channels == 1:
        return weight.float().sum(dim=1, keepdim=True).to(weight.dtype)
    colors = torch.arange(channels, device=weight.device) % _COLORS
    return (weight.float()[:, colors] * (_COLORS / channels)).to(weight.dtype)


def with_adapted_stem(weights: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return weights in which the convolution on RGB has the input channels of the network `own`."""
    return {key: _fitted(weight, own.get(key)) for key, weight in weights.items()}


def _fitted(weight: Tensor, own: Tensor | None) -> Tensor:
    if own is None or own.shape == weight.shape or weight.ndim != 4 or weight.shape[1] != _COLORS:
        return weight
    return adapt_stem(weight, own.shape[1]) if own.shape[2:] == weight.shape[2:] else weight
