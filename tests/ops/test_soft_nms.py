"""Soft-NMS against its definition, written out box by box and class by class."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch._subclasses.fake_tensor import FakeTensorMode
from torchvision.ops import box_iou

from lightning_rcnn.ops.nms import batched_nms
from lightning_rcnn.ops.soft_nms import batched_soft_nms


def written_out(boxes, scores, groups, iou_threshold, min_score):
    """The paper's figure 3 for each class, then the best of all."""
    found = []
    for group in groups.unique().tolist():
        members = torch.nonzero((groups == group) & scores.isfinite()).flatten().tolist()
        left = {member: scores[member].item() for member in members}
        while left:
            best = max(left, key=left.__getitem__)
            score = left.pop(best)
            if score > min_score:
                found.append((score, best))
            for other in left:
                iou = box_iou(boxes[best : best + 1], boxes[other : other + 1]).item()
                left[other] *= 1 - iou if iou >= iou_threshold else 1
    return sorted(found, reverse=True)


@given(st.integers(0, 2**31), st.integers(1, 12), st.sampled_from([0.0, 0.3, 0.5]))
def test_the_best_are_those_of_the_definition(seed, number, iou_threshold):
    generator = torch.Generator().manual_seed(seed)
    corners = torch.rand(2, number, 2, generator=generator) * 10
    boxes = torch.cat([corners, corners + 2 + 8 * torch.rand(2, number, 2, generator=generator)], dim=-1)
    scores = torch.rand(2, number, generator=generator)
    scores[:, number // 2] = -torch.inf
    groups = torch.randint(2, (2, number), generator=generator)
    result = batched_soft_nms(boxes, scores, groups, iou_threshold, 5, 0.05)
    for image in range(2):
        expected = written_out(boxes[image], scores[image], groups[image], iou_threshold, 0.05)[:5]
        valid = result.is_valid[image]
        assert valid.sum() == len(expected)
        assert result.indices[image, valid].tolist() == [index for _, index in expected]
        torch.testing.assert_close(result.scores[image, valid], torch.tensor([score for score, _ in expected]))
        assert (result.scores[image, ~valid] == -torch.inf).all()


def test_a_graph_leaves_the_number_of_boxes_free():
    class Best(torch.nn.Module):
        def forward(self, boxes, scores):
            return tuple(batched_soft_nms(boxes, scores, torch.zeros_like(scores, dtype=torch.int64), 0.5, 4, 0.05))

    def words(number):
        corners = torch.rand(1, number, 2) * 10
        return torch.cat([corners, corners + 8], dim=-1), torch.rand(1, number)

    number = torch.export.Dim("number", min=2)
    graph = torch.export.export(Best(), words(6), dynamic_shapes=({1: number}, {1: number})).module()
    for count in (2, 9):
        few = words(count)
        found, expected = graph(*few), Best()(*few)
        assert torch.equal(found[0][:, :count], expected[0])
        assert torch.equal(found[2].sum(), expected[2].sum())


def test_boxes_apart_are_those_of_hard_nms():
    boxes = torch.arange(6.0)[:, None] * 20 + torch.tensor([0.0, 0, 10, 10])
    scores = torch.tensor([0.2, 0.9, 0.9, 0.4, 0.7, 0.1])
    words = (boxes[None], scores[None], torch.zeros(1, 6, dtype=torch.int64), 0.5, 4)
    for soft, hard in zip(batched_soft_nms(*words, 0.0), batched_nms(*words), strict=True):
        assert torch.equal(soft, hard)


@pytest.mark.parametrize("number", [0, 3])
def test_sizes_follow_from_shapes_alone(number):
    with FakeTensorMode():
        words = (torch.zeros(2, number, 4), torch.zeros(2, number), torch.zeros(2, number, dtype=torch.int64))
        result = batched_soft_nms(*words, 0.5, 2, 0.05)
    assert [tuple(value.shape) for value in result] == [(2, min(2, number))] * 3
