"""RegNets with a pyramid against torchvision's network, and with activations computed again."""

import pytest
import torch
import torchvision

from lightning_rcnn.backbones.base import require_maps
from lightning_rcnn.backbones.regnet import SIZES, RegNetFPN
from lightning_rcnn.errors import InputError


def test_maps_are_those_of_torchvisions_network():
    torch.manual_seed(0)
    theirs = torchvision.models.regnet_y_400mf().eval()
    ours = RegNetFPN("regnet_y_400mf", channels=8).eval()
    weights = {name: value for name, value in theirs.state_dict().items() if not name.startswith("fc.")}
    ours.body.load_state_dict(weights)
    images = torch.randn(1, 3, 64, 96)
    hidden = theirs.stem(images)
    levels = []
    for stage in theirs.trunk_output:
        hidden = stage(hidden)
        levels.append(hidden)
    expected = ours.fpn({str(level): value for level, value in enumerate(levels)})
    for own, wanted in zip(ours(images), expected.values(), strict=True):
        assert torch.equal(own, wanted)
    require_maps(ours)


def test_weights_of_a_file_and_other_channels(tmp_path):
    theirs = torchvision.models.regnet_x_400mf().state_dict()
    torch.save(theirs, tmp_path / "regnet.pth")
    ours = RegNetFPN("regnet_x_400mf", weights=str(tmp_path / "regnet.pth"), channels=8, in_channels=1)
    torch.testing.assert_close(ours.body.stem[0].weight, theirs["stem.0.weight"].sum(dim=1, keepdim=True))
    assert torch.equal(ours.body.trunk_output[3][1].f.c[0].weight, theirs["trunk_output.block4.block4-1.f.c.0.weight"])
    with pytest.raises(InputError, match="not weights of regnet_x_800mf"):
        RegNetFPN("regnet_x_800mf", weights=str(tmp_path / "regnet.pth"))


def test_gradients_with_activations_computed_again_are_the_same():
    gradients, statistics = [], []
    for checkpointing in (False, True):
        torch.manual_seed(0)
        backbone = RegNetFPN("regnet_x_400mf", channels=8, checkpointing=checkpointing).train()
        sum(level.square().mean() for level in backbone(torch.randn(2, 3, 64, 64))).backward()
        gradients.append([weight.grad for weight in backbone.parameters()])
        statistics.append([value.clone() for value in backbone.buffers()])
    assert all(map(torch.equal, *gradients))
    assert all(map(torch.equal, *statistics))


def test_layers_are_the_stem_and_every_block():
    backbone = RegNetFPN("regnet_x_400mf", channels=8)
    assert len(backbone.layers()) == 1 + 1 + 2 + 7 + 12


def test_a_frozen_stage_keeps_its_statistics():
    backbone = RegNetFPN("regnet_x_400mf", frozen_stages=2, channels=8).train()
    stages = [backbone.body.stem, *backbone.body.trunk_output]
    assert [module.training for module in stages] == [False, False, True, True, True]
    assert not any(weight.requires_grad for weight in backbone.body.trunk_output[0].parameters())
    with pytest.raises(InputError, match=r"frozen_stages 6: give 0 \(none\) to 5 \(all\)"):
        RegNetFPN("regnet_x_400mf", frozen_stages=6)


@pytest.mark.parametrize("name", [name for name in SIZES if "_4gf" not in name])
def test_sizes_are_those_of_torchvisions_networks(name, monkeypatch):
    monkeypatch.setattr(torchvision.models.regnet, "_regnet", lambda parameters, *_, **__: parameters)
    theirs, ours = getattr(torchvision.models, name)(), SIZES[name]
    assert (tuple(theirs.depths), tuple(theirs.widths), theirs.se_ratio) == (ours.depths, ours.widths, ours.squeezed)
    assert theirs.group_widths == [min(ours.group_width, width) for width in ours.widths]
    assert (theirs.strides, theirs.bottleneck_multipliers) == ([2] * 4, [1.0] * 4)
