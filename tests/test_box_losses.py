"""Losses of boxes in the branches that train by them."""

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torchvision.ops import complete_box_iou_loss, distance_box_iou_loss, generalized_box_iou_loss

from lightning_rcnn.box_losses import BoxSamples, CIoULoss, DIoULoss, GIoULoss, SmoothL1Loss
from lightning_rcnn.functional.boxes import encode
from lightning_rcnn.roi_heads.box_branch import BOX_WEIGHTS

REFERENCES = torch.tensor([[[10.0, 10, 50, 40], [20, 5, 60, 80], [0, 0, 0, 0]]])
GT = torch.tensor([[[12.0, 8, 55, 44], [18, 0, 66, 70], [0, 0, 0, 0]]])
PREDICTED = torch.tensor([[[15.0, 9, 52, 47], [30, 9, 61, 90], [0, 0, 0, 0]]])
IS_POSITIVE = torch.tensor([[True, True, False]])
LOSSES = [
    (GIoULoss(), generalized_box_iou_loss),
    (DIoULoss(weight=2.0), distance_box_iou_loss),
    (CIoULoss(weight=0.5), complete_box_iou_loss),
]


def loss_of(settings, deltas):
    gt_deltas = encode(GT, REFERENCES, BOX_WEIGHTS)
    return settings.build()(BoxSamples(deltas, gt_deltas, REFERENCES, IS_POSITIVE, BOX_WEIGHTS))


@pytest.mark.parametrize(("settings", "peer"), LOSSES)
def test_deltas_are_judged_by_the_boxes_that_they_make(settings, peer):
    deltas = encode(PREDICTED, REFERENCES, BOX_WEIGHTS)
    expected = settings.weight * peer(PREDICTED[0, :2], GT[0, :2], reduction="sum")
    torch.testing.assert_close(loss_of(settings, deltas), expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("settings", [GIoULoss(), DIoULoss(), CIoULoss(), SmoothL1Loss(beta=0.0)])
def test_samples_that_do_not_count_may_hold_anything(settings):
    deltas = encode(PREDICTED, REFERENCES, BOX_WEIGHTS)
    deltas[0, 2] = torch.nan
    deltas.requires_grad_()
    loss = loss_of(settings, deltas)
    loss.backward()
    assert loss.isfinite()
    assert (deltas.grad[0, :2] != 0).any(dim=-1).all()
    assert (deltas.grad[0, 2] == 0).all()


@pytest.mark.parametrize("settings", [GIoULoss(), DIoULoss(), CIoULoss()])
def test_no_value_decides_a_shape(settings):
    with FakeTensorMode():
        deltas, is_positive = torch.zeros(2, 5, 4), torch.zeros(2, 5, dtype=torch.bool)
        assert settings.build()(BoxSamples(deltas, deltas, deltas, is_positive, BOX_WEIGHTS)).shape == ()


def test_smooth_l1_has_a_weight():
    deltas = encode(PREDICTED, REFERENCES, BOX_WEIGHTS)
    assert loss_of(SmoothL1Loss(weight=3.0), deltas) == 3 * loss_of(SmoothL1Loss(), deltas)
