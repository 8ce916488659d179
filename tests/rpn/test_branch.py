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


@pytest.mark.parametrize(("size", "ratio"), [(64.02, 1.0), (45.62, 0.5)])
def test_anchors_centered_on_the_edge_of_the_padding_are_beyond_whatever_their_corners_are_rounded_to(size, ratio):
    half = torch.tensor([size / ratio**0.5, size * ratio**0.5]) / 2
    centers, edges = torch.arange(0, 2048, 4.0)[:, None].expand(-1, 2), torch.arange(32, 2048, 32)
    anchors = torch.cat((centers - half, centers + half), dim=1)
    found = branch(padding_divisor=32)._is_candidate(anchors, edges[:, None].expand(-1, 2))
    assert torch.equal(found, centers[:, 0] < edges[:, None])


def test_anchors_at_the_boundary_of_an_image():
    """detectron2's `inside_box` and mmdetection's `allowed_border=0` of 40 x 70: x1 >= 0, y1 >= 0, x2 < 70, y2 < 40."""
    anchors = torch.tensor([[0.0, 0, 69, 39], [0, 0, 70, 39], [0, 0, 69, 40], [-1, 0, 69, 39], [0, 0, 71, 39]])
    for how, expected in (
        ("keep", [True] * 5),
        ("ignore", [True, True, True, False, False]),
        ("ignore_edge", [True, False, False, False, False]),
        ("discard", [True, False, False, False, False]),
    ):
        found = branch(cross_boundary_anchors=how)._is_candidate(anchors, torch.tensor([[40, 70]]))
        assert found.expand(1, 5).tolist() == [expected], how


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
