"""MobileNet V3 (Howard et al. 2019, arXiv 1905.02244) with a feature pyramid, as torchvision's detectors have it."""

from typing import Literal

import torchvision.models
from torch import Tensor, nn
from torchvision.ops import FeaturePyramidNetwork
from torchvision.ops.feature_pyramid_network import LastLevelMaxPool

from lightning_rcnn.backbones.base import Backbone
from lightning_rcnn.backbones.freezing import Freezable
from lightning_rcnn.backbones.norms import norm_layer
from lightning_rcnn.backbones.weights import load_backbone_weights
from lightning_rcnn.errors import InputError
from lightning_rcnn.settings_checks import NonNegative, PositiveCount

MobileNetName = Literal["mobilenet_v3_large", "mobilenet_v3_small"]


class MobileNetFPN(Freezable, Backbone):
    """MobileNet V3 with a pyramid of its last two stages, both of stride 32, and a third map of stride 64.

    Regions are pooled from the first map, the RPN uses all: that is what torchvision's detectors do. Anchors of all
    sizes belong on every map: `model.rpn.anchors.levels: all_sizes`.

    Keys of the state dict are torchvision's (`body.*`, `fpn.inner_blocks.*`, `fpn.layer_blocks.*`).

    Args:
        name: "mobilenet_v3_large" or "mobilenet_v3_small".
        weights: torchvision's name of ImageNet weights ("DEFAULT"), a file or URL of weights, or None: from scratch.
        norm: "frozen_batch_norm" for pretrained weights, "batch_norm" from scratch.
        norm_epsilon: epsilon of the norms; 0.001 in the ImageNet network, 1e-5 in torchvision's detectors.
        frozen_stages: number of frozen stages: 0 none, 6 all.
        channels: channels of every level.
        in_channels: channels of the images. Weights for RGB are adapted: see `stem.py`.

    Raises:
        InputError: `frozen_stages` is out of range, or the weights do not fit.
    """

    conventions = ("norm", "norm_epsilon")

    def __init__(
        self,
        name: MobileNetName = "mobilenet_v3_large",
        weights: str | None = None,
        norm: Literal["batch_norm", "frozen_batch_norm"] = "batch_norm",
        norm_epsilon: NonNegative = 1e-5,
        frozen_stages: int = 0,
        channels: PositiveCount = 256,
        in_channels: PositiveCount = 3,
    ) -> None:
        super().__init__()
        self.in_channels = in_channels
        network = getattr(torchvision.models, name)(norm_layer=norm_layer(norm, norm_epsilon))
        if in_channels != 3:
            network.features[0][0] = nn.Conv2d(in_channels, 16, kernel_size=3, stride=2, padding=1, bias=False)
            nn.init.kaiming_normal_(network.features[0][0].weight, mode="fan_out")  # as torchvision's
        if weights is not None:
            load_backbone_weights(network, name, weights)
        self.body: nn.Sequential = network.features
        # torchvision marks the first block of each stage after the stem.
        starts = [0, *(number for number, block in enumerate(self.body) if getattr(block, "_is_cn", False))]
        starts.append(len(self.body) - 1)
        if not 0 <= frozen_stages <= len(starts):
            raise InputError(f"model.backbone: frozen_stages {frozen_stages}: give 0 (none) to {len(starts)} (all)")
        self.freeze(list(self.body)[: (*starts, len(self.body))[frozen_stages]])
        self._taken = starts[-2:]
        self.fpn = FeaturePyramidNetwork(
            [self.body[number].out_channels for number in self._taken],
            channels,
            LastLevelMaxPool(),
        )
        self.strides = (32, 32, 64)
        self.out_channels = channels

    @property
    def roi_strides(self) -> tuple[int, ...]:
        """Stride of the first map."""
        return self.strides[:1]

    def layers(self) -> list[nn.Module]:
        """Return the blocks of the network."""
        return list(self.body)

    def forward(self, images: Tensor) -> list[Tensor]:
        """Compute maps [N, C, H / stride, W / stride], one for each of `strides`."""
        features: dict[str, Tensor] = {}
        for number, block in enumerate(self.body):
            images = block(images)
            if number in self._taken:
                features[str(len(features))] = images
        return list(self.fpn(features).values())
