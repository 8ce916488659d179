"""ResNet with a dilated last stage: a single map of stride 16 from all stages ("DC5", dilated C5).

Source: Deformable Convolutional Networks, arXiv 1703.06211, section 3.2; the numbers are detectron2's.
"""

from torch import Tensor, nn

from lightning_rcnn.backbones.base import Backbone
from lightning_rcnn.backbones.norms import NormName
from lightning_rcnn.backbones.resnet import ResNetBody, ResNetName
from lightning_rcnn.settings_checks import NonNegative, PositiveCount


class ResNetDC5(Backbone):
    """ResNet with one feature map of stride 16; the 3 x 3 convolutions of the last stage have dilation 2.

    Args:
        name: as in `ResNetFPN`; a network of bottlenecks.
        weights, norm, norm_epsilon, frozen_stages, stride_in_1x1, checkpointing, in_channels: as in `ResNetFPN`.

    Raises:
        InputError: see `ResNetBody`; or the network has no bottlenecks.
    """

    conventions = ("norm", "norm_epsilon", "stride_in_1x1")

    def __init__(
        self,
        name: ResNetName = "resnet50",
        weights: str | None = None,
        norm: NormName = "batch_norm",
        norm_epsilon: NonNegative = 1e-5,
        frozen_stages: int = 0,
        stride_in_1x1: bool = False,
        checkpointing: bool = False,
        in_channels: PositiveCount = 3,
    ) -> None:
        super().__init__()
        self.in_channels = in_channels
        self.body = ResNetBody(
            name, weights, norm, norm_epsilon, frozen_stages, stride_in_1x1, checkpointing, in_channels
        )
        self.body.dilate_last_stage()
        self.strides = (16,)
        self.out_channels = self.body.out_channels[3]

    def layers(self) -> list[nn.Module]:
        """Return the stem and each block of the ResNet."""
        return self.body.layers()

    def forward(self, images: Tensor) -> list[Tensor]:
        """Compute one map [N, C, H / 16, W / 16]."""
        return [self.body(images)[3]]
