"""torchvision's ResNets as feature extractors, with the norm and the frozen stages of the detection papers."""

from collections.abc import Callable
from functools import partial
from typing import Literal, get_args

import torchvision.models
from torch import Tensor, nn
from torchvision.models import ResNet
from torchvision.ops import FrozenBatchNorm2d

from lightning_rcnn.backbones.weights import load_backbone_weights
from lightning_rcnn.errors import InputError

ResNetName = Literal["resnet18", "resnet34", "resnet50", "resnet101"]
NormName = Literal["batch_norm", "frozen_batch_norm", "group_norm"]

STAGES = ("layer1", "layer2", "layer3", "layer4")


def _norm_layer(norm: NormName, epsilon: float) -> Callable[[int], nn.Module]:
    if norm == "frozen_batch_norm":
        return partial(FrozenBatchNorm2d, eps=epsilon)
    if norm == "group_norm":
        return partial(nn.GroupNorm, 32, eps=epsilon)
    return partial(nn.BatchNorm2d, eps=epsilon)


class ResNetBody(nn.Module):
    """A ResNet without its classifier.

    Keys of the state dict are torchvision's (`conv1`, `bn1`, `layer1` ...).

    Args:
        name: architecture.
        weights: torchvision's name of ImageNet weights, a file, or None for random ones.
        norm: "frozen_batch_norm" keeps ImageNet's statistics, right for pretrained weights and small batches;
            "batch_norm" and "group_norm" are for training from scratch.
        norm_epsilon: of the norm; torchvision's first COCO detectors need 0.
        frozen_stages: 0 trains all, 1 freezes the stem, 2 also layer1 (detectron2's FREEZE_AT), and so on.
        num_stages: how many of the four stages are kept.

    Raises:
        InputError: an unknown name, a number of stages that does not exist, or weights that do not fit.
    """

    def __init__(
        self,
        name: ResNetName,
        weights: str | None,
        norm: NormName,
        norm_epsilon: float,
        frozen_stages: int,
        num_stages: int = 4,
    ) -> None:
        super().__init__()
        if name not in get_args(ResNetName):
            raise InputError(f"backbone {name!r} is none of {', '.join(get_args(ResNetName))}")
        if not 0 <= frozen_stages <= 5:
            raise InputError(f"frozen_stages {frozen_stages}: 0 (none) to 5 (stem and all four stages)")
        network: ResNet = getattr(torchvision.models, name)(norm_layer=_norm_layer(norm, norm_epsilon))
        self.conv1, self.bn1, self.relu, self.maxpool = network.conv1, network.bn1, network.relu, network.maxpool
        self.stages = STAGES[:num_stages]
        for stage in self.stages:
            setattr(self, stage, getattr(network, stage))
        deepest = network.layer1[0].conv1.in_channels
        expansion = network.fc.in_features // (deepest * 8)
        self.out_channels = [deepest * expansion * 2**level for level in range(num_stages)]
        if weights is not None:
            load_backbone_weights(self, name, weights)
        self._frozen = [self.conv1, self.bn1][: 2 * frozen_stages]
        self._frozen += [getattr(self, stage) for stage in self.stages[: max(frozen_stages - 1, 0)]]
        for module in self._frozen:
            module.requires_grad_(False)

    def train(self, mode: bool = True) -> "ResNetBody":
        """Frozen stages stay in evaluation mode, so that their statistics don't move."""
        super().train(mode)
        for module in self._frozen:
            module.eval()
        return self

    def forward(self, images: Tensor) -> list[Tensor]:
        """Feature maps of all stages, strides 4, 8, 16, 32."""
        hidden = self.maxpool(self.relu(self.bn1(self.conv1(images))))
        features = []
        for stage in self.stages:
            hidden = getattr(self, stage)(hidden)
            features.append(hidden)
        return features
