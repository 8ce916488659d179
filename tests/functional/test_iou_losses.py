"""Losses by overlap against torchvision's operators, which index by masks where ours multiply."""

import pytest
import torch
import torchvision
from hypothesis import given
from hypothesis import strategies as st

from lightning_rcnn.functional.iou_losses import ciou_loss, diou_loss, giou_loss

PAIRS = [
    (giou_loss, torchvision.ops.generalized_box_iou_loss),
    (diou_loss, torchvision.ops.distance_box_iou_loss),
    (ciou_loss, torchvision.ops.complete_box_iou_loss),
]
SIDES = st.floats(0.25, 300, width=32)
BOXES = st.lists(st.tuples(*[st.floats(-300, 300, width=32)] * 2, SIDES, SIDES), min_size=2, max_size=2)


@given(BOXES)
@pytest.mark.parametrize(("ours", "theirs"), PAIRS)
def test_loss_and_gradient_are_torchvisions(ours, theirs, boxes):
    x, y, width, height = torch.tensor(boxes).unbind(-1)
    box, gt = torch.stack([x, y, x + width, y + height], dim=-1).double()
    results = []
    for function in (ours, theirs):
        leaf = box.clone().requires_grad_()
        loss = function(leaf[None], gt[None])
        loss.sum().backward()
        results.append((loss.detach(), leaf.grad))
    torch.testing.assert_close(results[0], results[1], atol=1e-9, rtol=1e-6)


@pytest.mark.parametrize("loss", [giou_loss, diou_loss, ciou_loss])
def test_a_box_without_height_has_a_gradient(loss):
    box = torch.tensor([[1.0, 5, 9, 5]], requires_grad=True)
    loss(box, torch.tensor([[0.0, 0, 10, 10]])).sum().backward()
    assert box.grad.isfinite().all()


@pytest.mark.parametrize(
    ("loss", "value"), [(giou_loss, 1 + 1 / 3), (diou_loss, 1 + 16 / 40), (ciou_loss, 1 + 16 / 40)]
)
def test_boxes_that_do_not_touch(loss, value):
    """Two squares of side 2 in a hull of 6 x 2, their centers 4 apart: a third of the hull is in neither."""
    squares = torch.tensor([[0.0, 0, 2, 2]]), torch.tensor([[4.0, 0, 6, 2]])
    assert loss(*squares).item() == pytest.approx(value, rel=1e-5)
