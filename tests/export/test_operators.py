"""Standard operators in place of ours, in a graph with sizes that depend on the data."""

import pytest
import torch
from torch import nn

from lightning_rcnn.export import operators
from lightning_rcnn.ops.nms import non_maximum_suppression


class Suppression(nn.Module):
    def forward(self, boxes, scores, groups):
        return operators.non_maximum_suppression(boxes, scores, groups, 0.5)


@pytest.fixture(scope="module")
def exported():
    inputs = torch.zeros(2, 6, 4), torch.zeros(2, 6), torch.zeros(2, 6, dtype=torch.int64)
    return torch.export.export(Suppression(), inputs).module()


@pytest.mark.parametrize("num_boxes", range(7))
def test_any_number_of_boxes_is_suppressed_as_ours_does(exported, num_boxes: int):
    torch.manual_seed(num_boxes)
    corners = torch.rand(2, 6, 2) * 40 - 20  # clipped images have no negative coordinates, other callers may
    boxes = torch.cat([corners, corners + 20 * torch.rand(2, 6, 2)], dim=2)
    scores = torch.full((2, 6), -torch.inf)
    scores[1, :num_boxes] = torch.rand(num_boxes)
    groups = torch.randint(2, (2, 6))
    expected = non_maximum_suppression(boxes, scores, groups, 0.5)
    assert torch.equal(exported(boxes, scores, groups), expected)
    assert expected.sum() <= num_boxes
