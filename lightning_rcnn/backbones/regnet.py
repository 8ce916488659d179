"""RegNet (Radosavovic et al. 2020, arXiv 2003.13678) with a feature pyramid, on torchvision's blocks.

Shape letters: N images, C channels, H and W height and width.
"""

from collections.abc import Callable
from typing import Literal, NamedTuple

from torch import Tensor, nn
from torchvision.models.regnet import BlockParams, RegNet
from torchvision.ops import FeaturePyramidNetwork
from torchvision.ops.feature_pyramid_network import LastLevelMaxPool

from lightning_rcnn.backbones.checkpointing import run_recomputed
from lightning_rcnn.backbones.freezing import Freezable
from lightning_rcnn.backbones.norms import NormName, norm_layer
from lightning_rcnn.backbones.pyramid import PyramidBackbone
from lightning_rcnn.backbones.weights import load_backbone_weights
from lightning_rcnn.errors import InputError
from lightning_rcnn.settings_checks import NonNegative, PositiveCount

RegNetName = Literal[
    "regnet_x_400mf",
    "regnet_x_800mf",
    "regnet_x_1_6gf",
    "regnet_x_3_2gf",
    "regnet_x_4gf",
    "regnet_x_8gf",
    "regnet_x_16gf",
    "regnet_x_32gf",
    "regnet_y_400mf",
    "regnet_y_800mf",
    "regnet_y_1_6gf",
    "regnet_y_3_2gf",
    "regnet_y_4gf",
    "regnet_y_8gf",
    "regnet_y_16gf",
    "regnet_y_32gf",
]


class RegNetSizes(NamedTuple):
    """Blocks and channels of the four stages, most channels of a group, and the share of squeeze and excitation."""

    depths: tuple[int, ...]
    widths: tuple[int, ...]
    group_width: int
    squeezed: float | None


SIZES: dict[str, RegNetSizes] = {
    "regnet_x_400mf": RegNetSizes((1, 2, 7, 12), (32, 64, 160, 400), 16, None),
    "regnet_x_800mf": RegNetSizes((1, 3, 7, 5), (64, 128, 288, 672), 16, None),
    "regnet_x_1_6gf": RegNetSizes((2, 4, 10, 2), (72, 168, 408, 912), 24, None),
    "regnet_x_3_2gf": RegNetSizes((2, 6, 15, 2), (96, 192, 432, 1008), 48, None),
    "regnet_x_8gf": RegNetSizes((2, 5, 15, 1), (80, 240, 720, 1920), 120, None),
    "regnet_x_16gf": RegNetSizes((2, 6, 13, 1), (256, 512, 896, 2048), 128, None),
    "regnet_x_32gf": RegNetSizes((2, 7, 13, 1), (336, 672, 1344, 2520), 168, None),
    "regnet_y_400mf": RegNetSizes((1, 3, 6, 6), (48, 104, 208, 440), 8, 0.25),
    "regnet_y_800mf": RegNetSizes((1, 3, 8, 2), (64, 144, 320, 784), 16, 0.25),
    "regnet_y_1_6gf": RegNetSizes((2, 6, 17, 2), (48, 120, 336, 888), 24, 0.25),
    "regnet_y_3_2gf": RegNetSizes((2, 5, 13, 1), (72, 216, 576, 1512), 24, 0.25),
    "regnet_y_8gf": RegNetSizes((2, 4, 10, 1), (224, 448, 896, 2016), 56, 0.25),
    "regnet_y_16gf": RegNetSizes((2, 4, 11, 1), (224, 448, 1232, 3024), 112, 0.25),
    "regnet_y_32gf": RegNetSizes((2, 5, 12, 1), (232, 696, 1392, 3712), 232, 0.25),
    "regnet_x_4gf": RegNetSizes((2, 5, 14, 2), (80, 240, 560, 1360), 40, None),
    "regnet_y_4gf": RegNetSizes((2, 6, 12, 2), (128, 192, 512, 1088), 64, 0.25),
}
"""Those of torchvision, and two of the paper's tables that it lacks. It would compute other widths of these two from
their parameters (120 for 80, 256 for 192): where channels must be whole groups, it rounds up what the authors' code
rounds to the nearest."""
STAGES = 4


class RegNetFPN(Freezable, PyramidBackbone):
    """RegNet with pyramid levels P2 to P6; P6 subsamples P5 and serves the RPN only, as in `ResNetFPN`.

    Keys of the state dict are torchvision's (`body.stem.*`, `body.trunk_output.*`, `fpn.*`).

    Args:
        name: torchvision's name of a RegNet ("regnet_y_3_2gf"), or "regnet_x_4gf" or "regnet_y_4gf".
        weights: torchvision's name of ImageNet weights ("DEFAULT"; it has none of the 4gf), a file or URL of weights
            with torchvision's names, or None: from scratch.
        norm: "frozen_batch_norm" for ImageNet weights, "batch_norm" or "group_norm" from scratch.
        norm_epsilon: epsilon of the norms.
        frozen_stages: number of frozen stages: 0 none, 1 stem, 2 also the first stage, 5 all.
        channels: channels of every level.
        fpn_norm: norm after the pyramid's convolutions; None for a bias instead.
        checkpointing: whether blocks compute their activations again in backward instead of keeping them.
        in_channels: channels of the images. Weights for RGB are adapted: see `stem.py`.

    Raises:
        InputError: `frozen_stages` is out of range, or the weights do not fit.
    """

    conventions = ("norm", "norm_epsilon")

    def __init__(
        self,
        name: RegNetName = "regnet_y_3_2gf",
        weights: str | None = None,
        norm: NormName = "batch_norm",
        norm_epsilon: NonNegative = 1e-5,
        frozen_stages: int = 0,
        channels: PositiveCount = 256,
        fpn_norm: NormName | None = None,
        checkpointing: bool = False,
        in_channels: PositiveCount = 3,
    ) -> None:
        super().__init__()
        self.in_channels, self.checkpointing = in_channels, checkpointing
        if not 0 <= frozen_stages <= 1 + STAGES:
            raise InputError(f"model.backbone: frozen_stages {frozen_stages}: give 0 (none) to {1 + STAGES} (all)")
        network = _network(name, norm_layer(norm, norm_epsilon))
        network.avgpool, network.fc = nn.Identity(), nn.Identity()  # of the classifier
        if in_channels != 3:
            width = network.stem[0].out_channels
            network.stem[0] = nn.Conv2d(in_channels, width, kernel_size=3, stride=2, padding=1, bias=False)
            nn.init.kaiming_normal_(network.stem[0].weight, mode="fan_out", nonlinearity="relu")  # as torchvision's
        if weights is not None:
            load_backbone_weights(network, name, weights)
        self.body = network
        self.freeze([network.stem, *network.trunk_output][:frozen_stages])
        level_norm = norm_layer(fpn_norm, norm_epsilon) if fpn_norm else None
        widths = [stage[0].proj[0].out_channels for stage in network.trunk_output]
        self.fpn = FeaturePyramidNetwork(widths, channels, LastLevelMaxPool(), level_norm)
        self.strides = (4, 8, 16, 32, 64)
        self.out_channels = channels

    def layers(self) -> list[nn.Module]:
        """Return the stem and each block."""
        return [self.body.stem, *(block for stage in self.body.trunk_output for block in stage)]

    def forward(self, images: Tensor) -> list[Tensor]:
        """Compute maps [N, C, H / stride, W / stride], one for each of `strides`."""
        hidden = self.body.stem(images)
        features: dict[str, Tensor] = {}
        for level, stage in enumerate(self.body.trunk_output):
            hidden = run_recomputed(stage, hidden) if self.checkpointing else stage(hidden)
            features[str(level)] = hidden
        return list(self.fpn(features).values())


def _network(name: RegNetName, norm: Callable[[int], nn.Module]) -> RegNet:
    depths, widths, group_width, squeezed = SIZES[name]
    groups, factors, strides = [min(group_width, width) for width in widths], [1.0] * STAGES, [2] * STAGES
    return RegNet(BlockParams(list(depths), list(widths), groups, factors, strides, squeezed), norm_layer=norm)
