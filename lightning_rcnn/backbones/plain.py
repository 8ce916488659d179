"""AlexNet and VGG16, the networks of the first two papers: a chain of convolutions, then two fully connected layers.

They are torchvision's. Its AlexNet is that of Krizhevsky's second paper (arXiv 1404.5997: 64, 192, 384, 256, 256
channels, no local response normalization, no groups), not the "CaffeNet" that Girshick used (96, 256, 384, 384, 256).

Shape letters: N images, C channels, H and W height and width.
"""

from collections.abc import Callable
from typing import Literal

import torchvision.models
from torch import Tensor, nn

from lightning_rcnn.backbones.base import Backbone
from lightning_rcnn.backbones.freezing import Freezable
from lightning_rcnn.backbones.norms import NormName, norm_layer
from lightning_rcnn.backbones.weights import load_backbone_weights
from lightning_rcnn.errors import InputError
from lightning_rcnn.settings_checks import NonNegative, PositiveCount

PlainName = Literal["alexnet", "vgg16"]

STAGE_STARTS = {"alexnet": (0, 3, 6, 8, 10), "vgg16": (0, 5, 10, 17, 24)}
"""Indices of conv1 to conv5 in torchvision's `features`."""
POOLED_SIZES = {"alexnet": 6, "vgg16": 7}
"""Side of the map that the fully connected layers take (Fast R-CNN section 2.2)."""


class PlainBackbone(Freezable, Backbone):
    """AlexNet or VGG16 up to the last ReLU, without the pooling after it: one map of stride 16.

    Keys of the state dict are torchvision's (`features.0.weight` ...) if there is no norm.

    Args:
        name: "alexnet" or "vgg16".
        weights: torchvision's name of ImageNet weights, a file or URL of its state dict, or None: from scratch.
        norm: norm after each convolution; None, as in the papers.
        norm_epsilon: epsilon of the norm.
        frozen_stages: number N of frozen stages, conv1 to convN; the papers freeze 1 of AlexNet and 2 of VGG16.
        in_channels: channels of the images. Weights for RGB are adapted: see `stem.py`.

    Raises:
        InputError: `frozen_stages` is out of range, or the weights do not fit.
    """

    conventions = ("norm", "norm_epsilon")

    def __init__(
        self,
        name: PlainName = "vgg16",
        weights: str | None = None,
        norm: NormName | None = None,
        norm_epsilon: NonNegative = 1e-5,
        frozen_stages: int = 0,
        in_channels: PositiveCount = 3,
    ) -> None:
        super().__init__()
        self.in_channels = in_channels
        if not 0 <= frozen_stages <= 5:
            raise InputError(f"model.backbone: frozen_stages {frozen_stages}: give 0 (none) to 5 (conv1 to conv5)")
        network = getattr(torchvision.models, name)()
        if in_channels != 3:
            network.features[0] = _with_in_channels(network.features[0], in_channels)
        if weights is not None:
            load_backbone_weights(network, name, weights)
        layers = list(network.features)[:-1]
        if norm is not None:
            layers = [_followed_by(norm_layer(norm, norm_epsilon), layer) for layer in layers]
        self.features = nn.Sequential(*layers)
        self.name = name
        self.freeze(layers[: (*STAGE_STARTS[name], len(layers))[frozen_stages]])
        self._fully_connected = [layer for layer in network.classifier if isinstance(layer, nn.Linear)][:2]
        self.pooled_size = POOLED_SIZES[name]
        self.strides = (16,)
        self.out_channels = self._fully_connected[0].in_features // self.pooled_size**2

    def layers(self) -> list[nn.Module]:
        """Return conv1 to conv5."""
        ends = (*STAGE_STARTS[self.name][1:], len(self.features))
        return [self.features[start:end] for start, end in zip(STAGE_STARTS[self.name], ends, strict=True)]

    def take_fully_connected(self) -> list[nn.Linear]:
        """Hand over fc6 and fc7 to the box head."""
        layers, self._fully_connected = self._fully_connected, []
        return layers

    def align_with_image(self) -> None:
        """Pad AlexNet's windows so that position (i, j) of the map is centered at pixel (16 i, 16 j).

        Without it, position 0 is centered at pixel 15, half a cell away; VGG16's windows are padded already.
        Fast R-CNN's code pads CaffeNet in the same way.
        """
        if self.name == "alexnet":
            for layer in self.features:
                if isinstance(layer, nn.MaxPool2d):
                    layer.padding = 1
            next(layer for layer in self.features.modules() if isinstance(layer, nn.Conv2d)).padding = (5, 5)

    def forward(self, images: Tensor) -> list[Tensor]:
        """Compute one map [N, C, H / 16, W / 16]."""
        return [self.features(images)]


def _with_in_channels(layer: nn.Conv2d, in_channels: int) -> nn.Conv2d:
    """Return a new convolution like `layer`, for other input channels."""
    kernel, stride, padding = layer.kernel_size, layer.stride, layer.padding
    return nn.Conv2d(in_channels, layer.out_channels, kernel, stride, padding)  # type: ignore[arg-type]


def _followed_by(make_norm: Callable[[int], nn.Module], layer: nn.Module) -> nn.Module:
    """Append a norm to a convolution; return other layers unchanged."""
    return nn.Sequential(layer, make_norm(layer.out_channels)) if isinstance(layer, nn.Conv2d) else layer
