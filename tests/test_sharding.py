"""Which layers of a detector are gathered one at a time. Trainings: `callbacks/test_sharded_strategy.py`."""

import pytest
import torch
from torch import nn

from lightning_rcnn.backbones.timm import TimmFPN
from lightning_rcnn.backbones.vitdet import ViTDet
from lightning_rcnn.sharding import as_sharded, class_before_sharding, gathered, own_part, sharded_layers


def test_the_blocks_of_a_vision_transformer_are_gathered_one_at_a_time():
    with torch.device("meta"):
        backbone = ViTDet("tiny")
    found = dict(sharded_layers(nn.ModuleDict({"backbone": backbone})))
    assert list(found) == [f"backbone.net.blocks.{number}" for number in range(12)]
    assert list(found.values()) == list(backbone.net.blocks)


@pytest.mark.parametrize(
    ("name", "kind", "number"),
    [("convnext_atto", "ConvNeXtBlock", 12), ("swin_tiny_patch4_window7_224", "SwinTransformerBlock", 12)],
)
def test_so_are_those_of_timms_networks(name, kind, number):
    with torch.device("meta"):
        backbone = TimmFPN(name, channels=8)
    found = [layer for _, layer in sharded_layers(backbone)]
    assert [type(layer).__name__ for layer in found] == [kind] * number


def test_the_blocks_of_nested_stages_are_found():
    with torch.device("meta"):
        backbone = TimmFPN("efficientnet_b0", channels=8)
    found = [layer for _, layer in sharded_layers(backbone)]
    assert len(found) == 16
    assert not any(isinstance(layer, nn.Sequential) for layer in found)


def test_plain_tensors_and_modules_stay_as_they_are():
    tensor = torch.ones(2)
    assert own_part(tensor) is gathered(tensor) is as_sharded(tensor, torch.zeros(2)) is tensor
    assert class_before_sharding(nn.Linear(1, 1)) is nn.Linear
