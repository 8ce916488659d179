"""torchvision's ResNets as feature extractors, with the norm and the frozen stages of the detection papers."""

from collections.abc import Callable
from typing import Literal

import torchvision.models
from torch import Tensor, nn
from torchvision.models import ResNet
from torchvision.models.resnet import Bottleneck

from lightning_rcnn.backbones.checkpointing import run_recomputed
from lightning_rcnn.backbones.deformable import Deformable
from lightning_rcnn.backbones.freezing import Freezable
from lightning_rcnn.backbones.norms import NormName, norm_layer
from lightning_rcnn.backbones.weights import load_backbone_weights
from lightning_rcnn.errors import InputError

ResNetName = Literal[
    "resnet18",
    "resnet34",
    "resnet50",
    "resnet101",
    "resnet152",
    "resnext50_32x4d",
    "resnext101_32x4d",
    "resnext101_32x8d",
    "resnext101_64x4d",
    "resnext152_32x8d",
    "wide_resnet50_2",
    "wide_resnet101_2",
]
"""torchvision's: ResNet (arXiv 1512.03385), ResNeXt (arXiv 1611.05431) and Wide ResNet (arXiv 1605.07146);
`resnext101_32x4d` is mmdetection's and `resnext152_32x8d` detectron2's."""

STAGES = ("layer1", "layer2", "layer3", "layer4")


class ResNetBody(Freezable):
    """A ResNet without its classifier.

    Keys of the state dict are torchvision's (`conv1`, `bn1`, `layer1` ...).

    Args:
        name: torchvision's name of the architecture.
        weights: torchvision's name of ImageNet weights, a file or URL of weights, or None: from scratch.
        norm: "frozen_batch_norm" keeps ImageNet's statistics, right for pretrained weights and small batches;
            "batch_norm" and "group_norm" are for training from scratch.
        norm_epsilon: epsilon of the norm; 0 in torchvision's first COCO detectors.
        frozen_stages: number of frozen stages: 0 none, 1 stem, 2 also layer1 (detectron2's FREEZE_AT), 5 all.
        stride_in_1x1: whether bottlenecks halve the resolution in their first convolution (He et al.'s networks,
            "MSRA") or in their second one (torchvision's).
        checkpointing: whether blocks compute their activations again in backward instead of keeping them.
        in_channels: channels of the images.
        deformable: settings of deformable convolutions; None without. `weights` need not have their offsets.

    Raises:
        InputError: `frozen_stages` is out of range, the weights do not fit, or a network without bottlenecks, or a
            stage that it has not, would be deformable.
    """

    def __init__(
        self,
        name: ResNetName,
        weights: str | None,
        norm: NormName,
        norm_epsilon: float,
        frozen_stages: int,
        stride_in_1x1: bool,
        checkpointing: bool,
        in_channels: int,
        deformable: Deformable | None = None,
    ) -> None:
        super().__init__()
        if not 0 <= frozen_stages <= 5:
            raise InputError(f"model.backbone: frozen_stages {frozen_stages}: give 0 (none) to 5 (all)")
        network = _network(name, norm_layer(norm, norm_epsilon))
        self.name, self.frozen_stages, self.checkpointing = name, frozen_stages, checkpointing
        if in_channels != network.conv1.in_channels:
            network.conv1 = nn.Conv2d(in_channels, 64, kernel_size=7, stride=2, padding=3, bias=False)
            nn.init.kaiming_normal_(network.conv1.weight, mode="fan_out", nonlinearity="relu")  # as torchvision's
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
        if deformable is not None:
            self._deform(deformable)
        frozen = [getattr(self, stage) for stage in self.stages[: max(frozen_stages - 1, 0)]]
        self.freeze([*[self.conv1, self.bn1][: 2 * frozen_stages], *frozen])

    def layers(self) -> list[nn.Module]:
        """Return the stem and each block, in order from the input (as timm counts layers)."""
        blocks = [block for stage in self.stages for block in self.get_submodule(stage).children()]
        return [nn.ModuleList([self.conv1, self.bn1]), *blocks]

    def _deform(self, settings: Deformable) -> None:
        """Replace the 3 x 3 convolutions of some stages by deformable ones with the same weights."""
        bottlenecks = self._bottlenecks("deformable")
        for number in settings.stages:
            if number > len(STAGES):
                raise InputError(f"model.backbone.deformable.stages: {number}: give numbers from 1 to {len(STAGES)}")
            for block in self.get_submodule(STAGES[number - 1]).children():
                if block in bottlenecks:
                    block.conv2 = settings.build(block.conv2)  # type: ignore[arg-type]

    def dilate_last_stage(self) -> None:
        """Replace the stride of the last stage by a dilation of its 3 x 3 convolutions."""
        last_stage = self.get_submodule(STAGES[-1])
        for block in self._bottlenecks("dilation of the last stage (ResNetDC5)"):
            if block in last_stage.children():
                block.conv1.stride = block.conv2.stride = (1, 1)
                block.conv2.dilation = block.conv2.padding = (2, 2)
                if block.downsample is not None:
                    block.downsample[0].stride = (1, 1)

    def _bottlenecks(self, wanted_by: str) -> list[Bottleneck]:
        bottlenecks = [module for module in self.modules() if isinstance(module, Bottleneck)]
        if not bottlenecks:
            raise InputError(f"model.backbone: {wanted_by} needs bottlenecks, and {self.name} has none; take resnet50")
        return bottlenecks

    def forward(self, images: Tensor) -> list[Tensor]:
        """Compute the feature maps of all stages, strides 4, 8, 16, 32."""
        hidden = self.maxpool(self.relu(self.bn1(self.conv1(images))))
        features = []
        for stage in self.stages:
            blocks = self.get_submodule(stage)
            hidden = run_recomputed(blocks.children(), hidden) if self.checkpointing else blocks(hidden)
            features.append(hidden)
        return features


def _network(name: ResNetName, norm: Callable[[int], nn.Module]) -> ResNet:
    """Build a network of torchvision's, or a ResNeXt of others, which has no ImageNet weights there."""
    if name == "resnext101_32x4d":
        return ResNet(Bottleneck, [3, 4, 23, 3], groups=32, width_per_group=4, norm_layer=norm)
    if name == "resnext152_32x8d":
        return ResNet(Bottleneck, [3, 8, 36, 3], groups=32, width_per_group=8, norm_layer=norm)
    return getattr(torchvision.models, name)(norm_layer=norm)
