"""ResNet with a feature pyramid (Feature Pyramid Networks, arXiv 1612.03144, section 3), on torchvision's FPN."""

from collections.abc import Callable

from torch import Tensor, nn
from torchvision.ops import FeaturePyramidNetwork
from torchvision.ops.feature_pyramid_network import LastLevelMaxPool

from lightning_rcnn.backbones.resnet import ResNetBody


class ResNetFPN(nn.Module):
    """Pyramid levels P2 to P6; P6 subsamples P5 and serves the RPN only (FPN section 4.1).

    Keys of the state dict are torchvision's (`body.*`, `fpn.inner_blocks.*`, `fpn.layer_blocks.*`).

    Args:
        body: all four stages.
        channels: of every level.
        norm: follows each convolution of the pyramid, from its number of channels; None for a bias instead.
    """

    strides = (4, 8, 16, 32, 64)
    roi_strides = (4, 8, 16, 32)
    pooled_size = 7

    def __init__(self, body: ResNetBody, channels: int, norm: Callable[[int], nn.Module] | None = None) -> None:
        super().__init__()
        self.body = body
        self.fpn = FeaturePyramidNetwork(body.out_channels, channels, LastLevelMaxPool(), norm)
        self.out_channels = self.region_channels = channels

    def forward(self, images: Tensor) -> list[Tensor]:
        """Maps [N, C, H / stride, W / stride] for each of `strides`."""
        named = {str(level): feature for level, feature in enumerate(self.body(images))}
        return list(self.fpn(named).values())
