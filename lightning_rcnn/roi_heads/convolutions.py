"""3 x 3 convolutions at the start of a head.

Shape letters: B regions of the whole batch, C channels, S side of a pooled region.
"""

from collections.abc import Callable
from itertools import pairwise

from torch import Tensor, nn


class NormalizedConvolutions(nn.ModuleList):
    """3 x 3 convolutions, each with a norm or a bias, and a ReLU.

    Without norms the items are the convolutions; with norms they are pairs of convolution and norm.

    Args:
        in_channels: channels C of a region.
        num_layers: number of convolutions.
        width: output channels of each.
        norm: number of channels -> norm; None for a bias instead.
    """

    def __init__(self, in_channels: int, num_layers: int, width: int, norm: Callable[[int], nn.Module] | None) -> None:
        channels = [in_channels] + [width] * num_layers
        convolutions = [
            nn.Conv2d(before, after, 3, padding=1, bias=norm is None) for before, after in pairwise(channels)
        ]
        for convolution in convolutions:
            nn.init.kaiming_normal_(convolution.weight, mode="fan_out", nonlinearity="relu")
            if convolution.bias is not None:
                nn.init.zeros_(convolution.bias)
        super().__init__(convolutions if norm is None else [nn.Sequential(c, norm(width)) for c in convolutions])
        self.out_channels = channels[-1]

    def forward(self, regions: Tensor) -> Tensor:
        """Compute features [B, width, S, S] of regions [B, C, S, S]."""
        for layer in self:
            regions = layer(regions).relu_()
        return regions
