"""Nulls of flags that reach into a part."""

import pytest

from lightning_rcnn.cli.nested_nulls import take_nested_nulls
from lightning_rcnn.detectors.base import Detector
from lightning_rcnn.detectors.faster_rcnn import FasterRCNN

NULL = ["--model.backbone.weights", "null"]


def backbone_of(content):
    return content["model"]["init_args"]["backbone"]


@pytest.mark.parametrize(
    "earlier", [["--model.backbone.weights", "X"], ["--model.backbone.init_args.weights=X"], NULL, []]
)
def test_the_last_of_several_flags_rules(earlier):
    content = {"model": {"class_path": FasterRCNN.__name__}}
    flags, content = take_nested_nulls(["--a", "1", *earlier, *NULL, "--model.rpn.nms_iou", ".6"], content, Detector)
    assert flags == ["--a", "1", "--model.rpn.nms_iou", ".6"]
    assert backbone_of(content)["init_args"] == {"weights": None}
    later = ["--model.backbone.weights", "X"]
    assert take_nested_nulls([*NULL, *later], content, Detector)[0] == later


@pytest.mark.parametrize(
    "content",
    [
        {"model": "FasterRCNN"},
        {"model": {"class_path": "FasterRCNN", "init_args": {"backbone": "ResNetFPN"}}},
    ],
)
def test_classes_may_be_written_as_words(content):
    _, content = take_nested_nulls(NULL, content, Detector)
    assert content["model"]["class_path"] == "FasterRCNN"
    backbone = backbone_of(content)
    assert backbone["init_args"] == {"weights": None}
    assert backbone.get("class_path", "ResNetFPN") == "ResNetFPN"
