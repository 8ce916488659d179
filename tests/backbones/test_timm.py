"""Networks of timm as backbones, against timm's own feature extraction and torchvision's networks."""

import pytest
import timm
import torch
import torchvision.models

from lightning_rcnn.backbones.fpn import ResNetFPN
from lightning_rcnn.backbones.timm import TimmFPN
from lightning_rcnn.detectors.faster_rcnn import FasterRCNN
from lightning_rcnn.detectors.parameter_groups import ParameterGroupSettings, group_parameters
from lightning_rcnn.errors import InputError

NETWORKS = ("convnext_atto", "swin_tiny_patch4_window7_224", "efficientnet_b0", "regnety_002")


def test_its_resnet50_gives_the_features_of_torchvisions_with_the_same_weights(tmp_path):
    torch.manual_seed(0)
    network = torchvision.models.resnet50().eval()
    torch.save(network.state_dict(), tmp_path / "resnet50.pth")
    ours = ResNetFPN("resnet50", channels=8, weights=str(tmp_path / "resnet50.pth")).eval()
    theirs = TimmFPN("resnet50", channels=8, weights=str(tmp_path / "resnet50.pth")).eval()
    theirs.fpn.load_state_dict(ours.fpn.state_dict())
    images = torch.randn(1, 3, 96, 64)
    with torch.no_grad():
        for expected, found in zip(ours(images), theirs(images), strict=True):
            torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
    assert (theirs.strides, theirs.roi_strides) == (ours.strides, ours.roi_strides)


@pytest.mark.parametrize("name", NETWORKS)
def test_maps_are_those_of_timms_own_extraction(name):
    torch.manual_seed(0)
    backbone = TimmFPN(name, channels=8).eval()
    options = {"strict_img_size": False} if name.startswith("swin") else {}
    extraction = timm.create_model(name, features_only=True, feature_cls="getter", **options).eval()
    extraction.load_state_dict(
        {f"model.{key}": value for key, value in backbone.network.state_dict().items()}, strict=False
    )
    images = torch.randn(1, 3, 64, 96)
    seen = []
    backbone.fpn.register_forward_pre_hook(lambda _, inputs: seen.extend(inputs[0].values()))
    with torch.no_grad():
        maps = backbone(images)
        expected = extraction(images)[-4:]
    assert all(torch.equal(found, other) for found, other in zip(seen, expected, strict=True))
    sizes = [(8, 16, 24), (8, 8, 12), (8, 4, 6), (8, 2, 3), (8, 1, 2)]
    assert [tuple(features.shape[1:]) for features in maps] == sizes


def test_a_detector_trains_all_weights_with_rates_by_layer_and_is_rebuilt():
    torch.manual_seed(0)
    backbone = TimmFPN("convnext_atto", channels=8, drop_path=0.1)
    detector = FasterRCNN(["a"], backbone=backbone, box={"head": {"width": 8}})
    groups = group_parameters(detector, ParameterGroupSettings(layer_decay=0.5))
    rates = {id(weight): group.get("lr", detector.learning_rate) for group in groups for weight in group["params"]}
    rate_of = {name: rates[id(weight)] for name, weight in backbone.network.named_parameters()}
    last = detector.learning_rate / 2
    assert rate_of["stages.3.blocks.1.conv_dw.weight"] == last
    assert rate_of["stages.3.blocks.0.conv_dw.weight"] == last / 2
    assert rate_of["stem.0.weight"] == min(rate_of.values())
    sum(features.square().mean() for features in backbone.train()(torch.randn(1, 3, 64, 64))).backward()
    assert [name for name, weight in backbone.named_parameters() if weight.grad is None] == []
    rebuilt = FasterRCNN(**detector.init_args)
    rebuilt.load_state_dict(detector.state_dict())


@pytest.mark.parametrize("name", ["convnext_atto", "swin_tiny_patch4_window7_224"])
def test_checkpointing_keeps_the_gradients(name):
    torch.manual_seed(0)
    images = torch.randn(1, 3, 64, 64)
    plain, recomputing = TimmFPN(name, channels=8), TimmFPN(name, channels=8, checkpointing=True)
    recomputing.load_state_dict(plain.state_dict())
    for backbone in (plain, recomputing):
        sum(features.square().mean() for features in backbone.train()(images)).backward()
    for (key, expected), found in zip(plain.named_parameters(), recomputing.parameters(), strict=True):
        assert torch.equal(found.grad, expected.grad), key


def test_images_of_other_channels(tmp_path):
    weights = timm.create_model("resnet18").state_dict()
    torch.save(weights, tmp_path / "18.pth")
    backbone = TimmFPN("resnet18", weights=str(tmp_path / "18.pth"), channels=8, in_channels=5)
    expected = weights["conv1.weight"][:, [0, 1, 2, 0, 1]] * 3 / 5
    torch.testing.assert_close(backbone.network.conv1.weight, expected)
    assert backbone(torch.randn(1, 5, 64, 64))[0].shape == (1, 8, 16, 16)


def test_frozen_norms_keep_their_statistics_and_have_no_gradients():
    backbone = TimmFPN("resnet18", channels=8, norm="frozen_batch_norm").train()
    before = {key: value.clone() for key, value in backbone.network.state_dict().items()}
    sum(features.square().mean() for features in backbone(torch.randn(2, 3, 64, 64))).backward()
    assert all(torch.equal(value, before[key]) for key, value in backbone.network.state_dict().items())
    assert not any("bn" in name for name, _ in backbone.named_parameters())


@pytest.mark.parametrize(
    ("options", "line"),
    [
        ({"name": "convnex_tiny"}, "TimmFPN: timm has no network convnex_tiny; did you mean convnext_tiny?"),
        (
            {"name": "vit_tiny_patch16_224"},
            "TimmFPN: vit_tiny_patch16_224 has maps of stride 16 only, and a pyramid needs strides that double",
        ),
        ({"name": "maxvit_pico_rw_256"}, "TimmFPN: maxvit_pico_rw_256 does not take images of any size ("),
        ({"name": "vgg11", "drop_path": 0.1}, "TimmFPN: vgg11 has no drop path; leave out drop_path"),
        (
            {"name": "resnet18", "checkpointing": True},
            "TimmFPN: resnet18 has batch norms, which would count every batch twice with checkpointing; give norm",
        ),
        ({"name": "resnet18", "weights": "{folder}/no.pth"}, "backbone weights {folder}/no.pth: neither a file"),
        (
            {"name": "resnet18", "weights": "{folder}/34.pth"},
            "backbone weights {folder}/34.pth: not weights of resnet18: 1 keys are missing and 0 have another shape",
        ),
    ],
)
def test_what_cannot_be_built_is_one_line(tmp_path, options, line):
    weights = timm.create_model("resnet18").state_dict()
    torch.save({key: value for key, value in weights.items() if key != "conv1.weight"}, tmp_path / "34.pth")
    if "weights" in options:
        options = options | {"weights": options["weights"].format(folder=tmp_path)}
    with pytest.raises(InputError) as caught:
        TimmFPN(**options)
    assert str(caught.value).startswith(line.format(folder=tmp_path))
    assert "\n" not in str(caught.value)
