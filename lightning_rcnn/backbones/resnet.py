"""torchvision's ResNets as feature extractors, with the norm and the frozen stages of the detection papers."""

from typing import Literal

import torchvision.models
from torch import Tensor, nn
from torchvision.models import ResNet
from torchvision.models.resnet import Bottleneck

from lightning_rcnn.backbones.norms import NormName, norm_layer
from lightning_rcnn.backbones.weights import load_backbone_weights
from lightning_rcnn.errors import InputError

ResNetName = Literal["resnet18", "resnet34", "resnet50", "resnet101", "resnext101_32x8d"]

STAGES = ("layer1", "layer2", "layer3", "layer4")


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
        stride_in_1x1: whether a bottleneck that halves the resolution does so in its first convolution (He et al.'s
            own networks, "MSRA") or in its second one (torchvision's).

    Raises:
        InputError: a number of stages that does not exist, or weights that do not fit.
    """

    def __init__(
        self,
        name: ResNetName,
        weights: str | None,
        norm: NormName,
        norm_epsilon: float,
        frozen_stages: int,
        stride_in_1x1: bool,
    ) -> None:
        super().__init__()
        if not 0 <= frozen_stages <= 5:
            raise InputError(f"model.backbone: frozen_stages {frozen_stages}: 0 (none) to 5 (stem and all four stages)")
        network: ResNet = getattr(torchvision.models, name)(norm_layer=norm_layer(norm, norm_epsilon))
        self.name, self.frozen_stages = name, frozen_stages
        self.conv1, self.bn1, self.relu, self.maxpool = network.conv1, network.bn1, network.relu, network.maxpool
        self.stages: tuple[str, ...] = STAGES
        for stage in self.stages:
            setattr(self, stage, getattr(network, stage))
        expansion = network.fc.in_features // 512
        self.out_channels = [64 * expansion * 2**level for level in range(len(STAGES))]
        if stride_in_1x1:
            for block in self._bottlenecks("stride_in_1x1"):
                block.conv1.stride, block.conv2.stride = block.conv2.stride, block.conv1.stride
        if weights is not None:
            load_backbone_weights(self, name, weights)
        self._frozen = [self.conv1, self.bn1][: 2 * frozen_stages]
        self._frozen += [getattr(self, stage) for stage in self.stages[: max(frozen_stages - 1, 0)]]
        for module in self._frozen:
            module.requires_grad_(False)

    def layers(self) -> list[nn.Module]:
        """The stem and each block, in order from the input (timm counts alike)."""
        blocks = [block for stage in self.stages for block in self.get_submodule(stage).children()]
        return [nn.ModuleList([self.conv1, self.bn1]), *blocks]

    def dilate_last_stage(self) -> None:
        """Let the last stage keep the resolution, and dilate its 3 x 3 convolutions instead."""
        last_stage = self.get_submodule(STAGES[-1])
        for block in self._bottlenecks("dilation of the last stage (ResNetDC5)"):
            if block in last_stage.children():
                block.conv1.stride = block.conv2.stride = (1, 1)
                block.conv2.dilation = block.conv2.padding = (2, 2)
                if block.downsample is not None:
                    block.downsample[0].stride = (1, 1)

    def _bottlenecks(self, wanted_by: str) -> list[Bottleneck]:
        found = [module for module in self.modules() if isinstance(module, Bottleneck)]
        if not found:
            raise InputError(f"model.backbone: {wanted_by} is for networks of bottlenecks; {self.name} has none")
        return found

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
