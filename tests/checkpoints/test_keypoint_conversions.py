"""torchvision's Keypoint R-CNN: the same keypoints after `convert`, and back; the layout of detectron2's."""

from pathlib import Path

import pytest
import torch
from torchvision.models.detection import KeypointRCNN as TheirKeypointRCNN
from torchvision.models.detection.backbone_utils import resnet_fpn_backbone
from torchvision.models.detection.faster_rcnn import FastRCNNPredictor, TwoMLPHead
from torchvision.models.detection.keypoint_rcnn import KeypointRCNNHeads, KeypointRCNNPredictor

from lightning_rcnn.checkpoints import detectron2_export
from lightning_rcnn.checkpoints.configs.detectron2_writing import config_of
from lightning_rcnn.checkpoints.reading import WeightFile
from lightning_rcnn.checkpoints.torchvision import export, other_conventions, translate
from lightning_rcnn.cli.commands.convert import convert
from lightning_rcnn.data.pack.shapes import generate_scene
from lightning_rcnn.detectors.loading import from_translation, load_detector
from lightning_rcnn.skeleton import COCO_PERSON

SIZE = 128


def their_detector(num_keypoints=17):
    """On a ResNet-18 with narrow heads; weights are scaled so that many boxes and distinct peaks come out."""
    torch.manual_seed(0)
    theirs = TheirKeypointRCNN(
        resnet_fpn_backbone(backbone_name="resnet18", weights=None),
        min_size=SIZE,
        max_size=2 * SIZE,
        box_head=TwoMLPHead(256 * 49, 32),
        box_predictor=FastRCNNPredictor(32, 2),
        keypoint_head=KeypointRCNNHeads(256, (16,) * 8),
        keypoint_predictor=KeypointRCNNPredictor(16, num_keypoints),
        box_score_thresh=0.05,
        box_detections_per_img=30,
        rpn_post_nms_top_n_test=60,
    ).eval()
    with torch.no_grad():
        for parameter in (theirs.rpn.head.cls_logits.weight, theirs.rpn.head.bbox_pred.weight):
            parameter.mul_(3)
        theirs.roi_heads.box_predictor.cls_score.weight.mul_(3)
        theirs.roi_heads.keypoint_predictor.kps_score_lowres.weight.mul_(5)
    return theirs


@pytest.fixture(scope="module")
def case(tmp_path_factory):
    theirs = their_detector()
    folder = tmp_path_factory.mktemp("keypoints")
    torch.save(theirs.state_dict(), folder / "theirs.pth")
    profile = [f"preprocessing.min_size={SIZE}", f"preprocessing.max_size={2 * SIZE}"]
    profile += ["preprocessing.memory_format=contiguous", "rpn.post_nms_top_n=[2000,60]"]
    profile += ["box.score_threshold=0.05", "box.detections_per_image=30"]
    convert(str(folder / "theirs.pth"), out=folder / "ours.ckpt", set=profile)
    return theirs, load_detector(folder / "ours.ckpt")


def test_it_finds_what_torchvision_finds(case):
    theirs, ours = case
    assert ours.skeleton == COCO_PERSON
    assert (ours.class_names, ours.category_ids) == (["person"], [1])
    total = 0
    for index in range(3):
        image = torch.from_numpy(generate_scene(3, index).image).permute(2, 0, 1)
        with torch.no_grad():
            (expected,) = theirs([image / 255])
        found = ours.detect(image, threshold=0.0)[0]
        total += len(expected["boxes"])
        torch.testing.assert_close(found["scores"], expected["scores"], atol=1e-4, rtol=0)
        partner = torch.cdist(expected["boxes"], found["boxes"], compute_mode="donot_use_mm_for_euclid_dist").argmin(1)
        assert sorted(partner.tolist()) == list(range(len(partner)))
        torch.testing.assert_close(found["boxes"][partner], expected["boxes"], atol=1e-2, rtol=0)
        keypoints = found["keypoints"][partner]
        torch.testing.assert_close(keypoints[..., 2], expected["keypoints_scores"], atol=2e-3, rtol=2e-4)
        torch.testing.assert_close(keypoints[..., :2], expected["keypoints"][..., :2], atol=0.1, rtol=0)
    assert total > 30


def test_back_again_is_what_it_was_and_other_conventions_are_named(case):
    theirs, ours = case
    exported = export(WeightFile(Path("ours.ckpt"), ours.state_dict()))
    original = theirs.state_dict()
    assert exported.keys() == original.keys()
    for name, value in exported.items():
        if "bbox_pred" not in name or "rpn" in name:
            assert torch.equal(value, original[name]), name
    assert "keypoint.score logit (probability there)" not in other_conventions(ours.hparams)
    differing = dict(ours.hparams) | {"keypoint": {**ours.hparams["keypoint"]["init_args"], "score": "probability"}}
    assert "keypoint.score probability (logit there)" in other_conventions(differing)


def test_other_keypoints_get_names():
    detector = from_translation(translate(WeightFile(Path("theirs.pth"), their_detector(3).state_dict())))
    assert detector.skeleton.names == ("keypoint 1", "keypoint 2", "keypoint 3")
    assert detector.class_names == ["class 1"]
    assert detector.keypoint.settings.width == 16


def test_detectron2s_layout_and_configuration_have_the_keypoints(case):
    _, ours = case
    exported = detectron2_export.export(WeightFile(Path("ours.ckpt"), ours.state_dict()))
    head = "roi_heads.keypoint_head."
    names = {name for name in exported if name.startswith(head)}
    expected = {f"{head}conv_fcn{layer}.{item}" for layer in range(1, 9) for item in ("weight", "bias")}
    assert names == expected | {f"{head}score_lowres.weight", f"{head}score_lowres.bias"}
    config = config_of(ours.hparams)["MODEL"]
    assert config["KEYPOINT_ON"] is True
    assert config["ROI_KEYPOINT_HEAD"]["NUM_KEYPOINTS"] == 17
    assert config["ROI_KEYPOINT_HEAD"]["CONV_DIMS"] == [16] * 8
