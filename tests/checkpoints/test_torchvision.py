"""Layouts of torchvision's detectors, to and from ours; their outputs are compared in test_torchvision_outputs.py."""

import re
from functools import reduce
from pathlib import Path

import pytest
import torch
from torchvision.models.detection import FasterRCNN as TheirFasterRCNN
from torchvision.models.detection import MaskRCNN as TheirMaskRCNN
from torchvision.models.detection.backbone_utils import resnet_fpn_backbone
from torchvision.models.detection.faster_rcnn import FastRCNNConvFCHead, FastRCNNPredictor, TwoMLPHead
from torchvision.models.detection.mask_rcnn import MaskRCNNHeads, MaskRCNNPredictor
from torchvision.models.detection.rpn import RPNHead

from lightning_rcnn.backbones.c4 import ResNetC4
from lightning_rcnn.checkpoints import detectron2
from lightning_rcnn.checkpoints.detectron2_profiles import input_of
from lightning_rcnn.checkpoints.reading import WeightFile
from lightning_rcnn.checkpoints.torchvision import (
    MASKS,
    PROFILE,
    export,
    is_torchvision,
    other_conventions,
    translate,
)
from lightning_rcnn.detectors.faster_rcnn import FasterRCNN
from lightning_rcnn.detectors.mask_rcnn import MaskRCNN
from lightning_rcnn.errors import InputError
from lightning_rcnn.plain_data import merge

DETECTORS = {"FasterRCNN": FasterRCNN, "MaskRCNN": MaskRCNN}
HERE = Path("theirs.pth")


def their_detector(masks, version, num_classes=4, **backbone):
    """With narrow heads, on a ResNet-18."""
    torch.manual_seed(0)
    body = resnet_fpn_backbone(backbone_name="resnet18", weights=None, **backbone)
    options = {"box_predictor": FastRCNNPredictor(32, num_classes)}
    norm = None
    if version == 2:
        norm = torch.nn.BatchNorm2d
        body.fpn = type(body.fpn)([64, 128, 256, 512], 256, body.fpn.extra_blocks, norm_layer=norm)
        options |= {"box_head": FastRCNNConvFCHead((256, 7, 7), [24] * 4, [32], norm), "rpn_head": RPNHead(256, 3, 2)}
    else:
        options["box_head"] = TwoMLPHead(256 * 7 * 7, 32)
    if not masks:
        return TheirFasterRCNN(body, **options)
    options["mask_head"] = MaskRCNNHeads(256, [16] * 4, 1, norm)
    return TheirMaskRCNN(body, **options, mask_predictor=MaskRCNNPredictor(16, 16, num_classes))


@pytest.fixture(
    scope="module",
    params=[(False, 1), (True, 1), (False, 2), (True, 2)],
    ids=["faster", "mask", "faster v2", "mask v2"],
)
def theirs(request):
    masks, version = request.param
    return their_detector(masks, version)


@pytest.fixture(scope="module")
def translation(theirs):
    return translate(WeightFile(HERE, theirs.state_dict()))


@pytest.fixture(scope="module")
def ours(translation):
    detector = DETECTORS[translation.detector](**translation.hyperparameters)
    assert translation.fit_to(detector.state_dict()) == []
    detector.load_state_dict(translation.weights)
    return detector


def test_the_architecture_is_read_from_the_weights(theirs, translation, ours):
    is_second = hasattr(theirs.backbone.fpn.inner_blocks[0], "1")
    assert ours.backbone.init_args["name"] == "resnet18"
    assert ours.rpn.settings.num_layers == (2 if is_second else 1)
    assert translation.hyperparameters["class_names"] == ["class 1", "class 2", "class 3"]
    assert type(ours).__name__ == type(theirs).__name__


def test_back_again_loads_strictly_and_all_but_the_background_is_what_it_was(theirs, ours):
    exported = export(WeightFile(HERE, ours.state_dict()))
    original = theirs.state_dict()
    theirs.load_state_dict(exported)
    for name, value in original.items():
        first = {"bbox_pred": 4, "mask_fcn_logits": 1}.get(re.sub(r".*\.(\w+)\.\w+", r"\1", name), 0)
        first = 0 if "rpn" in name else first
        assert exported[name][first:].equal(value[first:]) if value.ndim else exported[name].equal(value), name
        assert not first or (exported[name][:first] == 0).all()


def test_a_round_trip_of_ours_is_equal_to_the_bit(ours):
    weights = ours.state_dict()
    again = translate(WeightFile(HERE, export(WeightFile(HERE, weights))))
    assert again.weights.keys() == weights.keys()
    assert all(again.weights[name].equal(value) for name, value in weights.items())


def test_names_of_before_torchvision_0_13(theirs, translation):
    if "2" in translation.format:
        pytest.skip("the second version is younger")
    old = {}
    for name, value in theirs.state_dict().items():
        name = re.sub(r"(_blocks\.\d)\.0\.", r"\1.", name)
        name = name.replace("rpn.head.conv.0.0.", "rpn.head.conv.")
        name = re.sub(r"mask_head\.(\d)\.0\.", lambda match: f"mask_head.mask_fcn{int(match[1]) + 1}.", name)
        old[name] = value
    assert "rpn.head.conv.weight" in old
    again = translate(WeightFile(HERE, old))
    assert again.unexpected == []
    assert again.weights.keys() == translation.weights.keys()
    assert all(again.weights[name].equal(value) for name, value in translation.weights.items())


def test_frozen_norms_are_told_from_live_ones_and_have_the_epsilon_of_their_coco_files():
    def norms_of(*case, **backbone):
        translation = translate(WeightFile(HERE, their_detector(False, *case, **backbone).state_dict()))
        arguments = translation.hyperparameters["backbone"]["init_args"]
        return arguments["norm"], arguments["norm_epsilon"]

    assert norms_of(1) == ("frozen_batch_norm", 0.0)
    assert norms_of(1, norm_layer=torch.nn.BatchNorm2d) == ("batch_norm", 1e-5)
    assert norms_of(2) == ("frozen_batch_norm", 1e-5)


def test_a_profile_says_of_the_same_things_what_the_other_one_says():
    """All conventions are recorded, because our defaults may change."""
    theirs = reduce(merge, [detectron2.PROFILE, input_of("resnet50"), detectron2.PYRAMID])
    backbone = {("backbone", "class_path"), ("backbone", "init_args", "frozen_stages")}  # by the case in detectron2
    assert set(keys_of(PROFILE)) == set(keys_of(theirs)) | backbone
    assert set(keys_of(MASKS)) == set(keys_of(detectron2.MASKS))


def keys_of(settings, outer=()):
    for key, value in settings.items():
        yield from keys_of(value, (*outer, key)) if isinstance(value, dict) else [(*outer, key)]


def test_91_classes_are_those_of_coco_with_the_unused_ids():
    hyperparameters = translate(WeightFile(HERE, their_detector(False, 1, num_classes=91).state_dict())).hyperparameters
    names, ids = hyperparameters["class_names"], hyperparameters["category_ids"]
    assert ids == list(range(1, 91))
    assert (names[0], names[11], names[12], names[89]) == ("person", "N/A", "stop sign", "toothbrush")
    assert names.count("N/A") == 10


def test_unused_classes_can_be_left_out():
    translation = translate(WeightFile(HERE, their_detector(True, 1, num_classes=4).state_dict()))
    logits, deltas = (translation.weights[f"box.predictor.{name}.weight"] for name in ("class_logits", "box_deltas"))
    translation.keep_classes([True, False, True])
    assert translation.hyperparameters["class_names"] == ["class 1", "class 3"]
    assert translation.weights["box.predictor.class_logits.weight"].equal(logits[[0, 1, 3]])
    assert translation.weights["box.predictor.box_deltas.weight"].equal(deltas[[0, 1, 2, 3, 8, 9, 10, 11]])
    assert translation.fit_to(MaskRCNN(**translation.hyperparameters).state_dict()) == []


def test_what_has_no_place_and_what_is_missing_is_named_unless_allowed(theirs, ours):
    state = theirs.state_dict()
    more = translate(WeightFile(HERE, state | {"roi_heads.pose_head.0.weight": torch.zeros(1)}))
    with pytest.raises(InputError, match=r"1 weight has no place .*'roi_heads.pose_head.0.weight'.*--allow"):
        more.fit_to(ours.state_dict())
    more.fit_to(ours.state_dict(), allow=["roi_heads.pose_head"])
    assert more.dropped == {"roi_heads.pose_head.0.weight": "allowed"}
    less = translate(WeightFile(HERE, {name: value for name, value in state.items() if "rpn.head.cls" not in name}))
    with pytest.raises(InputError, match=r"2 weights are missing of \w+, first 'rpn.head.objectness.weight'"):
        less.fit_to(ours.state_dict())
    assert less.fit_to(ours.state_dict(), allow=["rpn.head.objectness"]) == [
        "rpn.head.objectness.weight",
        "rpn.head.objectness.bias",
    ]


def test_a_shape_that_does_not_fit_is_named(theirs, ours):
    state = theirs.state_dict()
    state["rpn.head.cls_logits.bias"] = torch.zeros(9)
    with pytest.raises(InputError, match=r"'rpn.head.cls_logits.bias' has the shape 9, but 'rpn.head.objectness.bias'"):
        translate(WeightFile(HERE, state)).fit_to(ours.state_dict())


def test_conventions_that_it_does_not_have_are_named():
    """Those of its constructors' arguments, too, which a state dict does not hold."""
    detector = FasterRCNN(["cat"], **merge(PROFILE, {"backbone": {"init_args": {"name": "resnet18", "channels": 8}}}))
    assert other_conventions(detector.init_args) == []
    changes = {
        "rpn": {"min_scale": 0.016, "nms_iou": 0.6, "padding_divisor": 32},
        "pooler": {"canonical": [4, 112.0]},
        "box": {"nms_across_classes": True, "min_scale": 0.016, "score_threshold": 0.1, "detections_per_image": 7},
    }
    assert sorted(other_conventions(FasterRCNN(**merge(detector.init_args, changes)).init_args)) == [
        "box.detections_per_image 7 (100 there)",
        "box.min_scale 0.016 (0.0 there)",
        "box.nms_across_classes True (False there)",
        "box.score_threshold 0.1 (0.05 there)",
        "pooler.canonical [4, 112.0] ([4, 224.0] there)",
        "rpn.min_scale 0.016 (0.0 there)",
        "rpn.nms_iou 0.6 (0.7 there)",
    ]


def test_what_torchvision_does_not_have_cannot_go_there():
    c4 = FasterRCNN(["a"], backbone=ResNetC4("resnet18"))
    assert not is_torchvision(c4.state_dict())
    with pytest.raises(InputError, match=r"no place for 'pooler\.stage\."):
        export(WeightFile(HERE, c4.state_dict()))
