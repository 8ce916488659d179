"""The anchors that training matches, against overlaps that are worked out here."""

import pytest
import torch

from lightning_rcnn.backbones.fpn import ResNetFPN
from lightning_rcnn.rpn.branch import RPNSettings
from lightning_rcnn.rpn.matches import match_anchors
from lightning_rcnn.structures import Inputs, Targets


@pytest.mark.parametrize(("target", "learned", "iou"), [("best_object", 0, 1.0), ("own_object", 1, 0.5)])
def test_the_iou_is_that_with_the_object_that_an_anchor_learns(target, learned, iou):
    """One anchor, 32 x 32 around the first position, is the best of two objects: of itself, and of its left half."""
    settings = RPNSettings(anchors={"sizes": [32.0] * 5, "ratios": [1.0]}, low_quality_target=target)
    rpn = settings.build(ResNetFPN("resnet18", channels=8))
    boxes = torch.tensor([[[-16.0, -16, 16, 16], [-16, -16, 0, 16]]])
    targets = Targets(boxes, torch.tensor([[1, 1]]), torch.zeros(1, 2, dtype=torch.bool))
    inputs = Inputs(torch.zeros(1, 3, 32, 32), torch.tensor([[32, 32]]), torch.tensor([1]))
    [found] = match_anchors(rpn, [(1, 1)] + [(0, 0)] * 4, inputs, targets)
    assert found.boxes.tolist() == [[-16, -16, 16, 16]]
    assert (found.gt_index.item(), found.iou.item()) == (learned, iou)
