"""ResNet with a feature pyramid (Feature Pyramid Networks, arXiv 1612.03144, section 3), on torchvision's FPN."""

from torch import Tensor, nn
from torchvision.ops import FeaturePyramidNetwork
from torchvision.ops.feature_pyramid_network import LastLevelMaxPool

from lightning_rcnn.backbones.resnet import NormName, ResNetBody, ResNetName


class ResNetFPN(nn.Module):
    """Pyramid levels P2 to P6; P6 subsamples P5 and serves the RPN only (FPN section 4.1).

    Keys of the state dict are torchvision's (`body.*`, `fpn.inner_blocks.*`, `fpn.layer_blocks.*`).

    Args:
        name, weights, norm, norm_epsilon, frozen_stages: see `ResNetBody`.
        channels: of every level.
    """

    strides = (4, 8, 16, 32, 64)
    roi_strides = (4, 8, 16, 32)

    def __init__(
        self,
        name: ResNetName,
        weights: str | None,
        norm: NormName,
        norm_epsilon: float,
        frozen_stages: int,
        channels: int,
    ) -> None:
        super().__init__()
        self.body = ResNetBody(name, weights, norm, norm_epsilon, frozen_stages)
        self.fpn = FeaturePyramidNetwork(self.body.out_channels, channels, extra_blocks=LastLevelMaxPool())
        self.out_channels = channels

    def forward(self, images: Tensor) -> list[Tensor]:
        """Maps [N, C, H / stride, W / stride] for each of `strides`."""
        named = {str(level): feature for level, feature in enumerate(self.body(images))}
        return list(self.fpn(named).values())
