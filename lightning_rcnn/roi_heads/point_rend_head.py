"""The networks of PointRend: a coarse mask of each region, and refined values at single points.

Shape letters: B regions, C channels, S side of a pooled region, K classes, P points of a region.
"""

from itertools import pairwise

import torch
from torch import Tensor, nn


class CoarseMaskHead(nn.Module):
    """Fully connected layers from a pooled region to a coarse mask of each class (section 4.1).

    Args:
        in_channels: channels C of a region.
        pooled_size: side S of a region.
        num_classes: number of classes K, without background.
        width: channels of the convolution that halves the side.
        hidden: outputs of each fully connected layer.
        num_layers: number of fully connected layers.
        side: side of the coarse mask.
    """

    def __init__(
        self,
        in_channels: int,
        pooled_size: int,
        num_classes: int,
        width: int = 256,
        hidden: int = 1024,
        num_layers: int = 2,
        side: int = 7,
    ) -> None:
        super().__init__()
        self.reduce = nn.Conv2d(in_channels, width, 2, stride=2)
        widths = [width * (pooled_size // 2) ** 2, *([hidden] * num_layers)]
        self.layers = nn.ModuleList(nn.Linear(*pair) for pair in pairwise(widths))
        self.logits = nn.Linear(widths[-1], num_classes * side**2)
        self.shape = (num_classes, side, side)
        nn.init.kaiming_normal_(self.reduce.weight, mode="fan_out", nonlinearity="relu")
        nn.init.zeros_(self.reduce.get_parameter("bias"))
        for layer in self.layers:
            nn.init.kaiming_uniform_(layer.get_parameter("weight"), a=1)
            nn.init.zeros_(layer.get_parameter("bias"))
        nn.init.normal_(self.logits.weight, std=0.001)
        nn.init.zeros_(self.logits.bias)

    def forward(self, regions: Tensor) -> Tensor:
        """Compute mask logits [B, K, side, side] of regions [B, C, S, S]."""
        hidden = self.reduce(regions).relu().flatten(1)
        for layer in self.layers:
            hidden = layer(hidden).relu()
        return self.logits(hidden).unflatten(1, self.shape)


class PointHead(nn.Module):
    """A small network shared by all points: features of a point and its coarse logits -> refined logits (section 3).

    The coarse logits are appended to the input of every layer, as in the authors' code.

    Args:
        in_channels: channels C of the features.
        num_classes: number of classes K, without background.
        width: outputs of each layer.
        num_layers: number of layers before the logits.
    """

    def __init__(self, in_channels: int, num_classes: int, width: int = 256, num_layers: int = 3) -> None:
        super().__init__()
        widths = [in_channels, *([width] * num_layers)]
        pairs = pairwise(widths)
        self.layers = nn.ModuleList(nn.Conv1d(before + num_classes, after, 1) for before, after in pairs)
        self.logits = nn.Conv1d(widths[-1] + num_classes, num_classes, 1)
        for layer in self.layers:
            nn.init.kaiming_normal_(layer.get_parameter("weight"), mode="fan_out", nonlinearity="relu")
            nn.init.zeros_(layer.get_parameter("bias"))
        nn.init.normal_(self.logits.weight, std=0.001)
        nn.init.zeros_(self.logits.get_parameter("bias"))

    def forward(self, features: Tensor, coarse: Tensor) -> Tensor:
        """Compute logits [B, K, P] from features [B, C, P] and coarse logits [B, K, P] of points."""
        hidden = features
        for layer in self.layers:
            hidden = layer(torch.cat((hidden, coarse), dim=1)).relu()
        return self.logits(torch.cat((hidden, coarse), dim=1))
