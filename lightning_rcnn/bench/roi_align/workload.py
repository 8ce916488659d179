"""Random feature pyramids, and the regions pooled from them."""

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from lightning_rcnn.ops.cpu.pixel_weights import Grid, Pyramid, bin_weights
from lightning_rcnn.ops.level_assignment import assign_levels


@dataclass(frozen=True)
class Workload:
    """A pyramid and the regions pooled from it.

    Attributes:
        num_images, height, width: batch size, and size of the network's input in pixels.
        num_channels: channels of every level.
        strides: pixels of the input for a pixel of each level, finest level first.
        num_rois: number of regions in all images together.
        bins: bins of the output along each side.
        clustered: True places the regions around eight objects an image, as sampled proposals are; False anywhere.
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
        """Pixels of each level for a pixel of the input."""
        return [1 / stride for stride in self.strides]

    def pyramid(self) -> Pyramid:
        """Sizes of the maps."""
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
        """Regions [R, 5] as (image, xyxy), image by image, with log-normal sides about 100 pixels."""
        num_sources = 8 * self.num_images if self.clustered else self.num_rois
        sides = torch.exp(0.8 * torch.randn(num_sources, 2) + math.log(100)).clamp(8, self.height)
        centers = torch.rand(num_sources, 2) * torch.tensor([self.width, self.height])
        images = torch.arange(num_sources) * self.num_images // num_sources
        if self.clustered:
            source = torch.arange(self.num_rois) * num_sources // self.num_rois
            sides, centers, images = sides[source], centers[source], images[source]
            centers = centers + 0.15 * sides * torch.randn(self.num_rois, 2)
            sides = sides * torch.exp(0.2 * torch.randn(self.num_rois, 2))
        corners = torch.cat((centers - sides / 2, centers + sides / 2), dim=1)
        limits = torch.tensor([self.width, self.height, self.width, self.height])
        return torch.cat((images[:, None].float(), corners.clamp(min=0).minimum(limits)), dim=1)

    def min_traffic(self, rois: Tensor, itemsize: int) -> int:
        """Count the bytes that forward and backward must move.

        Those are touched pixels, results, gradients of the results, and gradients of all pixels.
        """
        pyramid, grid = self.pyramid(), Grid((self.bins, self.bins), 2, False)
        levels = assign_levels(rois[:, 1:], self.scales)
        touched = np.unique(bin_weights(rois.numpy(), levels.numpy(), pyramid, grid).indices).size
        bins = self.num_rois * self.bins * self.bins
        return (touched + bins + bins + sum(pyramid.level_rows())) * self.num_channels * itemsize
