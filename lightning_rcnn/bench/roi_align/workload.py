"""The pyramid and the regions that a benchmark pools."""

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from lightning_rcnn.ops.cpu.pixel_weights import Grid, Pyramid, region_bags
from lightning_rcnn.ops.level_assignment import assign_levels


@dataclass(frozen=True)
class Workload:
    """A pyramid and the regions pooled from it.

    Attributes:
        num_images, height, width: of the network's input.
        num_channels: of every level.
        strides: of the levels, finest first.
        num_rois: in all images together.
        bins: of the output, along each side.
        clustered: whether the regions crowd round eight objects an image, as sampled proposals do, or lie anywhere.
    """

    num_images: int
    height: int
    width: int
    num_channels: int
    strides: tuple[int, ...]
    num_rois: int
    bins: int
    clustered: bool

    @property
    def scales(self) -> list[float]:
        """Of the levels."""
        return [1 / stride for stride in self.strides]

    def pyramid(self) -> Pyramid:
        """The sizes of the maps."""
        heights, widths = ([math.ceil(size / stride) for stride in self.strides] for size in (self.height, self.width))
        return Pyramid(self.num_images, heights, widths, self.scales)

    def features(self) -> list[Tensor]:
        """Random features of every level, float32 NCHW on the CPU."""
        pyramid = self.pyramid()
        return [
            torch.randn(self.num_images, self.num_channels, height, width)
            for height, width in zip(pyramid.heights, pyramid.widths, strict=True)
        ]

    def rois(self) -> Tensor:
        """[R, 5], image by image, sides log-normal about 100 pixels."""
        num_sources = 8 * self.num_images if self.clustered else self.num_rois
        sides = torch.exp(0.8 * torch.randn(num_sources, 2) + math.log(100)).clamp(8, self.height)
        centres = torch.rand(num_sources, 2) * torch.tensor([self.width, self.height])
        images = torch.arange(num_sources) * self.num_images // num_sources
        if self.clustered:
            source = torch.arange(self.num_rois) * num_sources // self.num_rois
            sides, centres, images = sides[source], centres[source], images[source]
            centres = centres + 0.15 * sides * torch.randn(self.num_rois, 2)
            sides = sides * torch.exp(0.2 * torch.randn(self.num_rois, 2))
        corners = torch.cat((centres - sides / 2, centres + sides / 2), dim=1)
        limits = torch.tensor([self.width, self.height, self.width, self.height])
        return torch.cat((images[:, None].float(), corners.clamp(min=0).minimum(limits)), dim=1)

    def least_traffic(self, rois: Tensor, itemsize: int) -> int:
        """Bytes that forward and backward must move: touched pixels and results, gradients in, all gradients out."""
        pyramid, grid = self.pyramid(), Grid((self.bins, self.bins), 2, False)
        levels = assign_levels(rois[:, 1:], self.scales)
        touched = np.unique(region_bags(rois.numpy(), levels.numpy(), pyramid, grid).rows).size
        bins = self.num_rois * self.bins * self.bins
        return (touched + bins + bins + sum(pyramid.level_rows())) * self.num_channels * itemsize
