"""Deformable convolutions: each position of the kernel samples where the network moves it.

Sources: Deformable Convolutional Networks (Dai et al. 2017, arXiv 1703.06211, section 2.1), "v1", and Deformable
ConvNets v2 (Zhu et al. 2019, arXiv 1811.11168, section 3.2), which also weights ("modulates") each sample. The operator
is torchvision's.

Shape letters: N images, C channels, H and W height and width, G groups of offsets, K positions of the kernel.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torchvision.ops import deform_conv2d

from lightning_rcnn.settings import Settings
from lightning_rcnn.settings_checks import PositiveCount


@dataclass(frozen=True)
class Deformable(Settings):
    """Settings of deformable convolutions in the bottlenecks of a ResNet, in place of the 3 x 3 ones.

    Args:
        stages: stages that have them, 1 to 4; c3 to c5, the last three, in the papers.
        modulated: whether each sample has a weight (v2).
        groups: number of groups of channels with offsets of their own.
    """

    stages: tuple[PositiveCount, ...] = (2, 3, 4)
    modulated: bool = True
    groups: PositiveCount = 1

    def build(self, convolution: nn.Conv2d) -> "DeformableConvolution":
        """Build the deformable convolution that replaces one without a bias, and takes over its weights."""
        return DeformableConvolution(convolution, self.modulated, self.groups)


class DeformableConvolution(nn.Module):
    """A convolution whose samples are moved by offsets that another convolution computes from the same input.

    Without training, it samples where the convolution does that it replaces; with modulation, each sample counts half.

    Args:
        convolution: convolution without a bias, whose weights are taken over.
        modulated: whether each sample has a weight.
        groups: number G of groups of channels with offsets of their own.
    """

    def __init__(self, convolution: nn.Conv2d, modulated: bool, groups: int) -> None:
        super().__init__()
        self.weight = convolution.weight
        self.stride, self.padding, self.dilation = convolution.stride, convolution.padding, convolution.dilation
        self.is_modulated = modulated
        positions = convolution.weight.shape[2] * convolution.weight.shape[3]
        self.offset = nn.Conv2d(
            convolution.in_channels,
            (3 if modulated else 2) * groups * positions,
            kernel_size=convolution.kernel_size,  # type: ignore[arg-type]  # torch gives its pairs a loose type
            stride=convolution.stride,  # type: ignore[arg-type]
            padding=convolution.padding,  # type: ignore[arg-type]
            dilation=convolution.dilation,  # type: ignore[arg-type]
        )
        nn.init.zeros_(self.offset.weight)
        nn.init.zeros_(self.offset.bias)  # type: ignore[arg-type]

    def forward(self, features: Tensor) -> Tensor:
        """Convolve [N, C, H, W]. Offsets are pairs (y, x), [N, 2 G K, ...], and weights of samples [N, G K, ...]."""
        offset, mask = self.offset(features), None
        if self.is_modulated:
            first, second, weights = torch.chunk(offset, 3, dim=1)
            offset, mask = torch.cat((first, second), dim=1), weights.sigmoid()
        where = (self.stride, self.padding, self.dilation)
        return deform_conv2d(features, offset, self.weight, None, *where, mask)
