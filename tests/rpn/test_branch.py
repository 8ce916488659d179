"""The RPN branch's rules of training, each against numbers worked out here by hand."""

import pytest
import torch

from lightning_rcnn.backbones.fpn import ResNetFPN
from lightning_rcnn.functional.sampling import Samples
from lightning_rcnn.rpn.branch import RPNSettings
from lightning_rcnn.structures import NO_IMAGE


def branch(**settings):
    return RPNSettings(**settings).build(ResNetFPN("resnet18", channels=8))


def test_anchors_in_the_padding_of_a_batch():
    """An image of 40 x 70 is padded to 64 x 96: centers from 96 on in x, or 64 in y, are beyond."""
    centers = torch.tensor([[0.0, 0], [95, 63], [96, 0], [0, 64], [128, 128]])
    anchors = torch.cat((centers - 20, centers + 20), dim=1)
    sizes = torch.tensor([[40, 70], [160, 160]])
    found = branch(padding_divisor=32)._is_candidate(anchors, sizes)
    assert found.tolist() == [[True, True, False, False, False], [True] * 5]
    assert branch()._is_candidate(anchors, sizes).tolist() == [[True] * 5]
    both = branch(padding_divisor=32, cross_boundary_anchors="ignore")._is_candidate(anchors, sizes)
    assert both.tolist() == [[False] * 5, [False, True, False, False, True]]


@pytest.mark.parametrize(
    ("denominator", "number"),
    # The first image has two positives and three negatives, the second one three negatives, the third slot is empty.
    [("sampled", 2 + 3 + 3), ("fixed", 2 * 10), ("sampled_or_one", (2 + 3) + (1 + 3))],
)
def test_numbers_that_losses_are_divided_by(denominator, number):
    is_positive = torch.tensor([[True, True, False, False, False], [False] * 5, [False] * 5])
    is_valid = torch.tensor([[True] * 5, [True, True, True, False, False], [False] * 5])
    samples = Samples(torch.zeros(3, 5, dtype=torch.int64), is_positive, is_valid)
    of = branch(loss_denominator=denominator, samples_per_image=10)
    assert of._number(samples, torch.tensor([4, 7, NO_IMAGE])) == number
