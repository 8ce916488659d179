import pytest
import torch
import torch.nn.functional as F
from torch import nn

from lightning_rcnn.backbones.dc5 import ResNetDC5
from lightning_rcnn.backbones.deformable import Deformable
from lightning_rcnn.backbones.fpn import ResNetFPN
from lightning_rcnn.checkpoints.residual_names import from_detectron2, to_detectron2
from lightning_rcnn.errors import InputError


def bilinear(plane, y, x):
    """The value of a plane [H, W] at (y, x), 0 beyond its pixels, as the papers define it."""
    total = torch.zeros(())
    for row in (int(y // 1), int(y // 1) + 1):
        for column in (int(x // 1), int(x // 1) + 1):
            if 0 <= row < plane.shape[0] and 0 <= column < plane.shape[1]:
                total = total + plane[row, column] * max(0, 1 - abs(y - row)) * max(0, 1 - abs(x - column))
    return total


def by_loop(features, weight, outputs, modulated, groups, stride):
    """Equation 2 of the first paper, and equation 1 of the second one, sample by sample."""
    offsets, mask = outputs, None
    if modulated:
        offsets, mask = outputs[: 2 * groups * 9], outputs[2 * groups * 9 :].sigmoid()
    height, width = outputs.shape[1:]
    found = torch.zeros(weight.shape[0], height, width)
    channels = features.shape[0] // groups
    for row in range(height):
        for column in range(width):
            for channel, plane in enumerate(features):
                for position in range(9):
                    place = channel // channels * 9 + position
                    move_y, move_x = offsets[2 * place : 2 * place + 2, row, column].tolist()
                    y, x = row * stride - 1 + position // 3 + move_y, column * stride - 1 + position % 3 + move_x
                    value = bilinear(plane, y, x) * (1 if mask is None else mask[place, row, column])
                    found[:, row, column] += weight[:, channel, position // 3, position % 3] * value
    return found


@pytest.mark.parametrize(("modulated", "groups", "stride"), [(False, 1, 1), (True, 1, 2), (True, 2, 1), (False, 2, 2)])
def test_it_is_the_papers_equation(modulated, groups, stride):
    torch.manual_seed(0)
    plain = nn.Conv2d(4, 3, 3, stride=stride, padding=1, bias=False)
    deformed = Deformable(modulated=modulated, groups=groups).build(plain)
    nn.init.normal_(deformed.offset.weight, std=0.3)
    features = torch.randn(1, 4, 6, 5)
    outputs = F.conv2d(features, deformed.offset.weight, deformed.offset.bias, stride=stride, padding=1)[0]
    expected = by_loop(features[0], plain.weight, outputs, modulated, groups, stride)
    torch.testing.assert_close(deformed(features)[0], expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("modulated", [False, True])
def test_before_training_it_is_the_convolution(modulated):
    plain = nn.Conv2d(4, 3, 3, padding=1, bias=False)
    features = torch.randn(2, 4, 6, 5)
    expected = plain(features) * (0.5 if modulated else 1)
    torch.testing.assert_close(Deformable(modulated=modulated).build(plain)(features), expected, atol=1e-5, rtol=1e-5)


def test_the_stages_of_a_network():
    deformable = Deformable(stages=(3, 4), modulated=False)
    network = ResNetFPN(channels=8, deformable=deformable, frozen_stages=2)
    offsets = [name for name in network.state_dict() if name.endswith("conv2.offset.weight")]
    assert len(offsets) == 6 + 3
    assert all(name.startswith(("body.layer3", "body.layer4")) for name in offsets)
    maps = network(torch.randn(1, 3, 64, 64))
    assert [tuple(one.shape[1:]) for one in maps] == [(8, 16, 16), (8, 8, 8), (8, 4, 4), (8, 2, 2), (8, 1, 1)]
    sum(one.square().sum() for one in maps).backward()
    assert network.body.layer4[0].conv2.offset.weight.grad.abs().sum() > 0
    with pytest.raises(InputError, match="needs bottlenecks, and resnet18 has none"):
        ResNetFPN("resnet18", deformable=deformable)
    with pytest.raises(InputError, match="stages: 5: give numbers from 1 to 4"):
        ResNetFPN(deformable=Deformable(stages=(5,)))
    assert "deformable" not in ResNetDC5().init_args


def test_names_of_detectron2():
    assert from_detectron2("res3.0.conv2_offset.weight") == "layer2.0.conv2.offset.weight"
    assert to_detectron2("layer2.0.conv2.offset.bias") == "res3.0.conv2_offset.bias"
