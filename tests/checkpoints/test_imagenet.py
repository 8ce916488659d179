"""Backbones trained on ImageNet, under the names of three programs."""

import pickle
import re
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision.models
from torchvision.models.resnet import BasicBlock, ResNet

from lightning_rcnn.backbones.fpn import ResNetFPN
from lightning_rcnn.backbones.weights import load_backbone_weights
from lightning_rcnn.checkpoints.formats import translate as translate_file
from lightning_rcnn.checkpoints.imagenet import body_weights, translate
from lightning_rcnn.checkpoints.reading import WeightFile
from lightning_rcnn.detectors.faster_rcnn import FasterRCNN
from lightning_rcnn.errors import InputError


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    network = torchvision.models.resnet50(weights=None)
    for norm in (module for module in network.modules() if isinstance(module, torch.nn.BatchNorm2d)):
        torch.nn.init.normal_(norm.weight)
        torch.nn.init.normal_(norm.bias)
    return network


def body_of(network):
    """What a backbone needs of it."""
    state = network.state_dict()
    return {name: value for name, value in state.items() if not name.startswith("fc") and "num_batches" not in name}


def in_detectron2s_names(body):
    renamed = {}
    for name, value in body.items():
        name = re.sub(r"^conv1\.", "stem.conv1.", name)
        name = re.sub(r"^bn1\.", "stem.conv1.norm.", name)
        name = re.sub(r"layer(\d)", lambda match: f"res{int(match[1]) + 1}", name)
        name = re.sub(r"\.bn(\d)\.", r".conv\1.norm.", name)
        name = name.replace("downsample.0.", "shortcut.").replace("downsample.1.", "shortcut.norm.")
        renamed[name] = value
    return renamed


def in_caffe2s_names(body):
    """As in the files of He et al.: norms without statistics."""
    renamed = {}
    for name, value in body.items():
        if "running" in name:
            continue
        name = re.sub(r"^bn1\.", "res_conv1_bn.", name)
        name = re.sub(r"layer(\d)\.(\d+)\.", lambda match: f"res{int(match[1]) + 1}_{match[2]}_", name)
        name = (
            re.sub(r"(conv|bn)([123])\b(?!_)", _branch, name)
            if name.startswith("res") and "_conv1_" not in name
            else name
        )
        name = name.replace("downsample.0", "branch1").replace("downsample.1", "branch1_bn")
        item = "s" if "_bn.weight" in name else {"weight": "w", "bias": "b"}[name.rpartition(".")[2]]
        renamed[f"{name.rpartition('.')[0]}_{item}"] = value
    return renamed


def _branch(match):
    return f"branch2{'abc'[int(match[2]) - 1]}{'_bn' if match[1] == 'bn' else ''}"


def test_names_of_detectron2(network):
    body = body_of(network)
    theirs = in_detectron2s_names(body)
    assert "res5.2.conv3.norm.running_var" in theirs
    read = body_weights(theirs).weights
    assert read.keys() == body.keys()
    assert all(read[name].equal(value) for name, value in body.items())


def test_names_of_caffe2(network):
    theirs = in_caffe2s_names(body_of(network))
    assert {"conv1_w", "res_conv1_bn_s", "res2_0_branch1_w", "res2_0_branch1_bn_b", "res5_2_branch2c_bn_s"} <= set(
        theirs
    )
    read = body_weights(theirs | {"fc1000_w": torch.zeros(1), "fc1000_b": torch.zeros(1)}).weights
    body = body_of(network)
    assert read.keys() == body.keys()
    for name, value in body.items():
        if "running" not in name:
            assert read[name].equal(value), name
    # Such a norm only scales and shifts.
    assert read["layer1.0.bn1.running_mean"].eq(0).all()
    assert read["layer1.0.bn1.running_var"].eq(1).all()


@pytest.mark.parametrize("kind", ["torchvision", "detectron2", "caffe2"])
def test_any_of_them_can_be_a_backbone(network, tmp_path, kind):
    if kind == "torchvision":
        path = tmp_path / "resnet50.pth"
        torch.save(network.state_dict(), path)
    else:
        path = tmp_path / "R-50.pkl"
        rename = in_detectron2s_names if kind == "detectron2" else in_caffe2s_names
        arrays = {name: value.numpy() for name, value in rename(body_of(network)).items()}
        path.write_bytes(pickle.dumps({"model": arrays, "__author__": "x"} if kind == "detectron2" else arrays))
    detector = FasterRCNN(
        ["a"],
        backbone=ResNetFPN("resnet50", weights=str(path), norm="frozen_batch_norm", channels=8),
        box={"head": {"width": 8}},
    )
    for name in ("conv1.weight", "layer4.2.bn3.bias", "layer2.0.downsample.0.weight"):
        assert detector.backbone.body.state_dict()[name].equal(network.state_dict()[name])


def test_converted_it_is_a_detector_whose_other_parts_are_new(network, tmp_path):
    path = tmp_path / "R-50.pkl"
    arrays = {name: value.numpy() for name, value in in_caffe2s_names(body_of(network)).items()}
    others = ("fc1000_w", "conv1_b", "res2_0_branch2a_b", "conv1_w_momentum")
    path.write_bytes(pickle.dumps(arrays | dict.fromkeys(others, np.zeros(64, dtype=np.float32))))
    translation = translate_file(path)
    hyperparameters = translation.hyperparameters
    backbone, pixels = hyperparameters["backbone"]["init_args"], hyperparameters["preprocessing"]
    assert (backbone["name"], backbone["stride_in_1x1"]) == ("resnet50", True)
    assert (pixels["channel_order"], pixels["pixel_range"]) == ("bgr", 255.0)
    bias = "bias before a norm, which detectron2 leaves out too"
    assert translation.dropped == {
        "fc1000_w": "classifier",
        "conv1_b": bias,
        "res2_0_branch2a_b": bias,
        "conv1_w_momentum": "state of a training",
    }
    assert len(translation.made) == 2 * 53
    detector = FasterRCNN(**hyperparameters)
    new = translation.fit_to(detector.state_dict())
    assert {name.split(".")[0] for name in new} == {"backbone", "rpn", "box"}
    assert not any(name.startswith("backbone.body") for name in new)


def test_files_that_detectron2_makes_of_torchvisions(network):
    """Its script sets `stem.` before all that is in no stage, the classifier too."""
    theirs = in_detectron2s_names(network.state_dict())
    theirs = {f"stem.{name}" if name.startswith("fc") else name: value for name, value in theirs.items()}
    assert {"stem.fc.weight", "stem.conv1.norm.num_batches_tracked"} <= theirs.keys()
    translation = translate(WeightFile(Path("R-50.pkl"), theirs))
    assert translation.unexpected == []
    detector = FasterRCNN(**translation.hyperparameters)
    assert detector.preprocessing.settings.channel_order == "rgb"
    assert not detector.backbone.init_args["stride_in_1x1"]
    new = translation.fit_to(detector.state_dict())
    assert not any(name.startswith("backbone.body") for name in new)


def test_an_unknown_network_is_named():
    network = ResNet(BasicBlock, [1, 1, 1, 1])
    with pytest.raises(InputError, match=r"x\.pth: its backbone has \(1, 1, 1, 1\) blocks"):
        translate(WeightFile(Path("x.pth"), body_of(network)))


def test_a_network_that_torchvision_lacks_has_no_weights_by_name():
    with pytest.raises(InputError, match="resnext152_32x8d has only: none"):
        load_backbone_weights(torch.nn.Identity(), "resnext152_32x8d", "DEFAULT")
