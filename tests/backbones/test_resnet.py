"""ResNets of torchvision by name, and their activation checkpointing."""

from typing import get_args

import pytest
import torch
import torchvision.models
from torch import nn

from lightning_rcnn.backbones.c4 import ResNetC4
from lightning_rcnn.backbones.dc5 import ResNetDC5
from lightning_rcnn.backbones.fpn import ResNetFPN
from lightning_rcnn.backbones.resnet import ResNetName
from lightning_rcnn.checkpoints.reading import WeightFile
from lightning_rcnn.checkpoints.residual_shapes import architecture


@pytest.mark.parametrize("name", sorted({*get_args(ResNetName)} - {"resnext101_32x4d", "resnext152_32x8d"}))
def test_every_name_is_a_network_of_torchvision_and_known_by_its_shapes(name):
    with torch.device("meta"):
        network = getattr(torchvision.models, name)()
        body = ResNetFPN(name).body
    shapes = {key: value.shape for key, value in network.state_dict().items()}
    own = {key: value.shape for key, value in body.state_dict().items()}
    assert own == {key: shape for key, shape in shapes.items() if not key.startswith("fc.")}
    assert architecture(WeightFile("a.pth", network.state_dict())) == name


def trained(backbone: nn.Module, images: torch.Tensor) -> dict[str, torch.Tensor]:
    """Gradients and statistics after one pass."""
    sum(features.square().mean() for features in backbone.train()(images)).backward()
    gradients = {name: weight.grad for name, weight in backbone.named_parameters() if weight.grad is not None}
    return gradients | dict(backbone.named_buffers())


@pytest.mark.parametrize("of_class", [ResNetFPN, ResNetC4, ResNetDC5])
@pytest.mark.parametrize("norm", ["batch_norm", "group_norm"])
def test_checkpointing_changes_neither_gradients_nor_statistics(of_class, norm):
    images = torch.randn(2, 3, 64, 64)
    plain = of_class("resnet50", norm=norm, frozen_stages=2)
    recomputing = of_class("resnet50", norm=norm, frozen_stages=2, checkpointing=True)
    recomputing.load_state_dict(plain.state_dict())
    expected, found = trained(plain, images), trained(recomputing, images)
    assert expected.keys() == found.keys()
    assert [name for name, value in expected.items() if not torch.equal(value, found[name])] == []
    assert all(module.momentum == 0.1 for module in recomputing.modules() if isinstance(module, nn.BatchNorm2d))
