import math

import pytest
import torch
from torchvision.ops.poolers import LevelMapper

from lightning_rcnn.ops.level_assignment import assign_levels

SCALES = [1 / 4, 1 / 8, 1 / 16, 1 / 32]


def test_agrees_with_torchvision():
    corners = torch.rand(100_000, 2) * 500
    boxes = torch.cat((corners, corners + torch.exp(torch.randn(100_000, 2) + 4.5)), dim=1)
    assert torch.equal(assign_levels(boxes, SCALES), LevelMapper(2, 5)([boxes]))


@pytest.mark.parametrize("rule", ["torchvision", "detectron2", "mmdetection"])
def test_boundaries_by_hand(rule):
    sides = torch.tensor([1.0, 111.0, 112.0, 223.0, 224.0, 447.0, 448.0, 9000.0])
    boxes = torch.stack((torch.zeros(8), torch.zeros(8), sides, sides), dim=1)
    assert assign_levels(boxes, SCALES, rule=rule).tolist() == [0, 0, 1, 1, 2, 2, 3, 3]


def test_boxes_without_a_size_go_to_the_finest_level():
    boxes = torch.tensor(
        [[9, 9, 9, 9], [600, 600, 0, 0], [600, 0, 0, 600], [math.nan, 0, 600, 600]], dtype=torch.float32
    )
    assert assign_levels(boxes, SCALES).tolist() == [0, 0, 0, 0]


def test_canonical_size_moves_the_levels():
    for rule in ("torchvision", "detectron2", "mmdetection"):
        pair = torch.tensor([[0.0, 0.0, 111.9, 111.9], [0.0, 0.0, 224.1, 224.1]])
        assert assign_levels(pair, SCALES, (4, 112.0), rule).tolist() == [1, 3]
    box = torch.tensor([[0.0, 0.0, 112.0, 112.0]])
    assert assign_levels(box, SCALES, canonical=(4, 112.0)).tolist() == [2]
    assert assign_levels(box, [1 / 16]).tolist() == [0]
