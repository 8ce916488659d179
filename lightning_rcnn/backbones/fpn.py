"""ResNet with a feature pyramid (Feature Pyramid Networks, arXiv 1612.03144, section 3), on torchvision's FPN."""

from torch import Tensor, nn
from torchvision.ops import FeaturePyramidNetwork
from torchvision.ops.feature_pyramid_network import LastLevelMaxPool

from lightning_rcnn.backbones.deformable import Deformable
from lightning_rcnn.backbones.norms import NormName, norm_layer
from lightning_rcnn.backbones.pyramid import PyramidBackbone
from lightning_rcnn.backbones.resnet import ResNetBody, ResNetName
from lightning_rcnn.settings_checks import NonNegative, PositiveCount


class ResNetFPN(PyramidBackbone):
    """ResNet with pyramid levels P2 to P6; P6 subsamples P5 and serves the RPN only (FPN section 4.1).

    Keys of the state dict are torchvision's (`body.*`, `fpn.inner_blocks.*`, `fpn.layer_blocks.*`).

    Args:
        name: torchvision's name of a ResNet ("resnet50"), a ResNeXt ("resnext101_32x8d") or a Wide ResNet
            ("wide_resnet50_2"); see `ResNetName`.
        weights: torchvision's name of ImageNet weights ("DEFAULT"), a file or URL of weights, or None: from scratch.
        norm: "frozen_batch_norm" for ImageNet weights, "batch_norm" or "group_norm" from scratch.
        norm_epsilon: epsilon of the norms; 0 in torchvision's first COCO detectors.
        frozen_stages: number of frozen stages: 0 none, 1 stem, 2 also layer1 (usual with ImageNet weights), 5 all.
        stride_in_1x1: whether bottlenecks halve the resolution in their first convolution (detectron2's ResNets) or in
            their second one (torchvision's, and detectron2's ResNeXt).
        channels: channels of every level.
        fpn_norm: norm after the pyramid's convolutions; None for a bias instead.
        deformable: settings of deformable convolutions in the ResNet; None without.
        checkpointing: whether the ResNet's blocks compute their activations again in backward instead of keeping them
            (arXiv 1604.06174): less memory for about a third more time.
        in_channels: channels of the images. Weights for RGB are adapted: see `stem.py`.

    Raises:
        InputError: see `ResNetBody`.
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
        channels: PositiveCount = 256,
        fpn_norm: NormName | None = None,
        deformable: Deformable | None = None,
        checkpointing: bool = False,
        in_channels: PositiveCount = 3,
    ) -> None:
        super().__init__()
        self.in_channels = in_channels
        self.body = ResNetBody(
            name, weights, norm, norm_epsilon, frozen_stages, stride_in_1x1, checkpointing, in_channels, deformable
        )
        level_norm = norm_layer(fpn_norm, norm_epsilon) if fpn_norm else None
        self.fpn = FeaturePyramidNetwork(self.body.out_channels, channels, LastLevelMaxPool(), level_norm)
        self.strides = (4, 8, 16, 32, 64)
        self.out_channels = channels

    def layers(self) -> list[nn.Module]:
        """Return the stem and each block of the ResNet."""
        return self.body.layers()

    def forward(self, images: Tensor) -> list[Tensor]:
        """Compute maps [N, C, H / stride, W / stride], one for each of `strides`."""
        named = {str(level): feature for level, feature in enumerate(self.body(images))}
        return list(self.fpn(named).values())
