"""Objects that NMS would hide, on overlaps worked out by hand."""

from types import SimpleNamespace

import numpy as np
import pytest

from lightning_rcnn.backbones.fpn import ResNetFPN
from lightning_rcnn.cli.recipe_of_config import _recipe
from lightning_rcnn.data.datamodule import DetectionDataModule
from lightning_rcnn.detectors.faster_rcnn import FasterRCNN
from lightning_rcnn.functional.class_suppression import Suppression
from lightning_rcnn.inspection.findings.of_boxes import _hidden
from lightning_rcnn.parts import part


def hidden(suppression):
    """Find what is hidden among four objects of one image, two of each class."""
    one = SimpleNamespace(
        pairs=np.array([[0, 1], [1, 2], [2, 3]]),
        iou=np.array([0.6, 0.7, 0.4], np.float32),
        labels=np.array([1, 1, 2, 2]),
        image_of=np.zeros(4, np.int64),
    )
    data = SimpleNamespace(
        sets=[one], recipe=SimpleNamespace(suppression=suppression), resized=[SimpleNamespace(objects=np.arange(4))]
    )
    return list(_hidden(data))


def test_objects_of_one_class_are_compared():
    (finding,) = hidden(Suppression(0.5))
    assert finding.count == 1
    assert [case.shots[0].objects for case in finding.cases] == [(0, 1)]
    assert finding.rule.startswith("Boxes of one class with an IoU above model.box.nms_iou, 0.5")
    assert "nms_across_classes" not in finding.advice


def test_objects_of_different_classes_are_compared_where_they_suppress_each_other():
    (finding,) = hidden(Suppression(0.5, across_classes=True))
    assert finding.count == 2
    assert [case.shots[0].objects for case in finding.cases] == [(1, 2), (0, 1)]
    assert "leave out model.box.nms_across_classes" in finding.advice


def test_soft_nms_hides_none():
    assert hidden(None) == []


@pytest.mark.parametrize(
    ("box", "expected"),
    [
        ({"nms_iou": 0.4}, Suppression(0.4)),
        ({"nms_across_classes": True}, Suppression(0.5, across_classes=True)),
        ({"nms": "soft"}, None),
    ],
)
def test_the_recipe_has_the_suppression_of_the_detector(box, expected):
    backbone = part(ResNetFPN, name="resnet18", channels=8)
    detector = FasterRCNN(["cat"], backbone=backbone, box={**box, "head": {"width": 8}})
    assert _recipe("a test", detector, DetectionDataModule()).suppression == expected
