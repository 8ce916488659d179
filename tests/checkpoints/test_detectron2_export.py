"""Detectors of ours in detectron2's layout: each weight comes back to its place, the configuration says the rest."""

from pathlib import Path

import pytest
import torch
import yaml

from lightning_rcnn.backbones.c4 import ResNetC4
from lightning_rcnn.backbones.dc5 import ResNetDC5
from lightning_rcnn.backbones.deformable import Deformable
from lightning_rcnn.backbones.fpn import ResNetFPN
from lightning_rcnn.backbones.regnet import RegNetFPN
from lightning_rcnn.checkpoints.configs.detectron2_differences import other_conventions, other_rules_of_training
from lightning_rcnn.checkpoints.configs.detectron2_writing import config_of
from lightning_rcnn.checkpoints.detectron2 import PROFILE
from lightning_rcnn.checkpoints.detectron2_export import export
from lightning_rcnn.checkpoints.detectron2_names import our_name
from lightning_rcnn.checkpoints.reading import WeightFile
from lightning_rcnn.cli import main
from lightning_rcnn.detectors.cascade_rcnn import CascadeMaskRCNN
from lightning_rcnn.detectors.faster_rcnn import FasterRCNN
from lightning_rcnn.detectors.loading import load_detector, save_detector
from lightning_rcnn.detectors.mask_rcnn import MaskRCNN
from lightning_rcnn.detectors.point_rend import PointRend
from lightning_rcnn.detectors.proposal_network import ProposalNetwork
from lightning_rcnn.errors import InputError
from lightning_rcnn.parts import part
from lightning_rcnn.plain_data import merge
from lightning_rcnn.roi_heads.box_head import ConvolutionalHead
from lightning_rcnn.roi_heads.class_losses import FederatedLoss

HERE = Path("ours.ckpt")
CLASSES = ["cat", "dog", "cow"]
SMALL_FPN = part(ResNetFPN, name="resnet18", channels=32, norm="group_norm", fpn_norm="group_norm")
SMALL_C4 = part(ResNetC4, name="resnet18", norm="frozen_batch_norm")
KINDS = {
    "Mask, FPN": lambda: MaskRCNN(CLASSES, backbone=part(ResNetFPN, name="resnet18", channels=16), mask={"width": 8}),
    "Faster, norms": lambda: FasterRCNN(
        CLASSES,
        backbone=SMALL_FPN,
        rpn={"num_layers": 2},
        box={"head": ConvolutionalHead(num_layers=2, channels=32, width=8, norm="group_norm")},
    ),
    "Cascade": lambda: CascadeMaskRCNN(CLASSES, backbone=SMALL_FPN, box={"head": {"width": 8}}, mask={"width": 8}),
    "PointRend": lambda: PointRend(
        CLASSES,
        backbone=SMALL_FPN,
        box={"head": {"width": 8}, "passes_on": "predicted"},
        mask={"width": 8, "coarse_hidden": 8, "num_layers": 2, "coarse_layers": 1, "coarse_side": 6, "num_points": 20},
    ),
    "RPN": lambda: ProposalNetwork(["object"], backbone=SMALL_FPN),
    "deformable": lambda: FasterRCNN(
        CLASSES, backbone=part(ResNetFPN, channels=16, deformable=Deformable(stages=(4,))), box={"head": {"width": 8}}
    ),
    "C4": lambda: MaskRCNN(
        CLASSES, backbone=part(ResNetC4, name="resnet18", norm="frozen_batch_norm"), mask={"width": 8}
    ),
    "DC5": lambda: FasterRCNN(
        CLASSES,
        backbone=part(ResNetDC5, name="resnet50"),
        rpn={"anchors": {"order": "size_major"}},
        box={"head": {"width": 8}},
    ),
}


def build(kind):
    torch.manual_seed(0)
    return KINDS[kind]()


@pytest.mark.parametrize("kind", KINDS)
def test_every_weight_comes_back_to_its_place(kind):
    state = build(kind).state_dict()
    exported = export(WeightFile(HERE, state))
    assert len(exported) == len(state)
    for theirs, value in exported.items():
        ours = our_name(theirs, exported)
        expected = state[ours]
        if "class_logits" in ours:  # background last
            expected = torch.cat((expected[1:], expected[:1]))
        assert torch.equal(value, expected), theirs


def test_names_are_those_of_its_modules():
    exported = export(WeightFile(HERE, build("Cascade").state_dict()))
    assert set(exported) >= {
        "backbone.bottom_up.stem.conv1.norm.weight",
        "backbone.bottom_up.res3.0.shortcut.norm.bias",
        "backbone.bottom_up.res5.1.conv2.weight",
        "backbone.fpn_lateral2.norm.weight",
        "backbone.fpn_output5.weight",
        "proposal_generator.rpn_head.conv.weight",
        "proposal_generator.rpn_head.anchor_deltas.bias",
        "roi_heads.box_head.2.fc1.weight",
        "roi_heads.box_predictor.1.bbox_pred.weight",
        "roi_heads.mask_head.mask_fcn4.weight",
        "roi_heads.mask_head.deconv.bias",
        "roi_heads.mask_head.predictor.weight",
    }
    assert "roi_heads.res5.0.conv1.weight" in export(WeightFile(HERE, build("C4").state_dict()))
    assert "proposal_generator.rpn_head.conv.conv1.bias" in export(
        WeightFile(HERE, build("Faster, norms").state_dict())
    )


def run(*words):
    return main(["convert", *map(str, words)])


@pytest.mark.parametrize("kind", ["Mask, FPN", "Cascade", "PointRend"])
def test_there_and_back_again(kind, tmp_path, capsys):
    """The settings come back by the configuration beside the weights, as a user of detectron2 has it."""
    detector = build(kind)
    save_detector(detector, tmp_path / "ours.ckpt")
    theirs = tmp_path / "theirs"
    assert run(tmp_path / "ours.ckpt", "--to", "detectron2", "--out", theirs / "model_final.pth") == 0
    printed = capsys.readouterr().out
    assert "preprocessing.resize antialiased (pillow there)" in printed
    config = yaml.safe_load((theirs / "model_final.yaml").read_text())
    assert config["MODEL"]["WEIGHTS"].endswith("theirs/model_final.pth")
    assert config["MODEL"]["PIXEL_MEAN"] == pytest.approx([123.675, 116.28, 103.53])
    (theirs / "model_final.yaml").rename(theirs / "config.yaml")
    assert run(theirs / "model_final.pth", "--out", tmp_path / "back.ckpt", "--class_names", "cat,dog,cow") == 0
    printed = capsys.readouterr().out
    assert "no counterpart" not in printed
    assert "config.yaml" in printed
    back = load_detector(tmp_path / "back.ckpt")
    assert type(back) is type(detector)
    assert all(torch.equal(value, detector.state_dict()[name]) for name, value in back.state_dict().items())
    rpn, box, old_rpn, old_box = back.rpn.settings, back.box.settings, detector.rpn.settings, detector.box.settings
    for name in ("positive_iou", "pre_nms_top_n", "post_nms_top_n", "nms_iou", "samples_per_image", "box_loss"):
        assert getattr(rpn, name) == pytest.approx(getattr(old_rpn, name)), name
    for name in ("score_threshold", "nms_iou", "box_loss", "positive_iou", "box_weights", "detections_per_image"):
        assert getattr(box, name) == pytest.approx(getattr(old_box, name)), name
    if kind == "PointRend":
        assert (back.mask.settings, box.passes_on) == (detector.mask.settings, "predicted")
    images = torch.randint(0, 256, (1, 3, 64, 64), dtype=torch.uint8)
    sizes = torch.tensor([[64, 64]])
    torch.testing.assert_close(
        back.preprocessing.normalize(images, sizes), detector.preprocessing.normalize(images, sizes), atol=2e-5, rtol=0
    )


def test_losses_and_thresholds_of_regions_are_written():
    box = {"head": {"width": 8}, "negative_iou": 0.4, "class_loss": part(FederatedLoss, num_classes=2)}
    model = config_of(FasterRCNN(CLASSES, backbone=SMALL_FPN, box=box).init_args)["MODEL"]
    assert (model["ROI_HEADS"]["IOU_THRESHOLDS"], model["ROI_HEADS"]["IOU_LABELS"]) == ([0.4, 0.5], [0, -1, 1])
    wanted = {"USE_SIGMOID_CE": True, "USE_FED_LOSS": True, "FED_LOSS_NUM_CLASSES": 2, "TRAIN_ON_PRED_BOXES": False}
    assert model["ROI_BOX_HEAD"].items() >= wanted.items()


def test_a_proposal_network_there_and_back_again(tmp_path, capsys):
    detector = build("RPN")
    save_detector(detector, tmp_path / "ours.ckpt")
    assert run(tmp_path / "ours.ckpt", "--to", "detectron2", "--out", tmp_path / "model_final.pth") == 0
    config = tmp_path / "model_final.yaml"
    assert yaml.safe_load(config.read_text())["MODEL"]["META_ARCHITECTURE"] == "ProposalNetwork"
    assert run(tmp_path / "model_final.pth", "--config", config, "--out", tmp_path / "back.ckpt") == 0
    assert "no counterpart" not in capsys.readouterr().out
    back = load_detector(tmp_path / "back.ckpt")
    assert isinstance(back, ProposalNetwork)
    assert back.rpn.settings.post_nms_top_n == detector.rpn.settings.post_nms_top_n
    assert all(torch.equal(value, detector.state_dict()[name]) for name, value in back.state_dict().items())


def test_what_it_lacks_is_refused_in_one_line(tmp_path, capsys):
    detector = FasterRCNN(
        CLASSES, backbone=part(RegNetFPN, name="regnet_x_400mf", channels=8), box={"head": {"width": 8}}
    )
    with pytest.raises(InputError, match=r"no place for 'backbone\.body\.stem"):
        export(WeightFile(HERE, detector.state_dict()))
    save_detector(detector, tmp_path / "ours.ckpt")
    assert run(tmp_path / "ours.ckpt", "--to", "detectron2", "--out", tmp_path / "theirs.pth") == 1
    assert capsys.readouterr().err.count("\n") == 1
    assert not (tmp_path / "theirs.pth").exists()


MMDETECTION_BOXES = {
    "rpn": {"low_quality_iou": 0.3, "low_quality_target": "own_object", "padding_divisor": 32, "min_scale": 0.016},
    "box": {"low_quality_iou": 0.5, "min_scale": 0.016, "nms_across_classes": True},
}


def test_rules_that_it_does_not_have_are_named():
    settings = merge(
        MMDETECTION_BOXES,
        {
            "rpn": {"loss_denominator": "sampled_or_one", "cross_boundary_anchors": "ignore"},
            "box": {"loss_weights": [1.0, 0.5, 0.25], "samples": "each", "gradients": "whole"},
            "mask": {"target": "soft"},
        },
    )
    detector = CascadeMaskRCNN(CLASSES, backbone=SMALL_FPN, **settings)
    named = other_conventions(detector.init_args)
    wanted = ["rpn.min_scale 0.016 (0.0 there)", "box.min_scale 0.016 (0.0 there)"]
    assert set(named) >= {*wanted, "box.nms_across_classes True (False there)"}
    assert sorted(other_rules_of_training(detector.init_args)) == [
        "box.gradients whole (shared there)",
        "box.loss_weights [1.0, 0.5, 0.25] (1 there)",
        "box.low_quality_iou 0.5 (None there)",
        "box.samples each (first there)",
        "mask.target soft (thresholded there)",
        "rpn.cross_boundary_anchors ignore (discard there)",
        "rpn.loss_denominator sampled_or_one (fixed there)",
        "rpn.low_quality_iou 0.3 (0.0 there)",
        "rpn.low_quality_target own_object (best_object there)",
        "rpn.padding_divisor 32 (0 there)",
    ]
    converted = merge(PROFILE, {"mask": {"target": "polygon"}})
    assert other_rules_of_training(MaskRCNN(CLASSES, **converted, backbone=SMALL_FPN).init_args) == []
