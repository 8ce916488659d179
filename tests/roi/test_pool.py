import math

import pytest
import torch
import torchvision.ops
from torch.testing import assert_close

from lightning_rcnn.roi import roi_pool


def test_maximum_of_each_bin_by_hand():
    feature = torch.arange(36.0).view(1, 1, 6, 6)
    pooled = roi_pool(feature, torch.tensor([[0.0, 1.0, 1.0, 4.0, 4.0]]), output_size=2)
    assert pooled[0, 0].tolist() == [[14.0, 16.0], [26.0, 28.0]]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16, torch.float64])
def test_agrees_with_torchvision_forward_and_backward(pyramid, make_rois, dtype):
    feature = pyramid[0][0].to(dtype)
    rois = make_rois(40)
    ours, theirs = feature.clone().requires_grad_(), feature.float().requires_grad_()
    pooled = roi_pool(ours, rois, output_size=(3, 4), spatial_scale=0.25)
    expected = torchvision.ops.roi_pool(theirs, rois, (3, 4), 0.25)
    assert pooled.dtype == dtype
    assert torch.equal(pooled, expected.to(dtype))
    weight = torch.randint(-3, 4, pooled.shape).float()
    (gradient,) = torch.autograd.grad(pooled, ours, weight.to(dtype))
    (expected_gradient,) = torch.autograd.grad(expected, theirs, weight)
    assert_close(gradient, expected_gradient.to(dtype))


@pytest.mark.parametrize(
    "box", [(-1, 0, 0, 9, 9), (2, 0, 0, 9, 9), (0, math.nan, 0, 9, 9), (0, 0, 0, math.inf, 9), (0, 1e6, 1e6, 2e6, 2e6)]
)
def test_regions_that_pool_to_zeros(box):
    feature = torch.rand(2, 3, 8, 8, requires_grad=True)
    pooled = roi_pool(feature, torch.tensor([box]), output_size=2)
    assert torch.equal(pooled, torch.zeros(1, 3, 2, 2))
    (gradient,) = torch.autograd.grad(pooled.sum(), feature)
    assert gradient.abs().max() == 0


def test_a_huge_box_covers_the_map():
    feature = torch.rand(1, 2, 8, 8)
    pooled = roi_pool(feature, torch.tensor([[0, -1e6, -1e6, 1e6, 1e6]]), output_size=1)
    assert_close(pooled[0, :, 0, 0], feature.amax((0, 2, 3)))


def test_no_regions_and_empty_maps():
    feature = torch.randn(2, 3, 8, 8, requires_grad=True)
    pooled = roi_pool(feature, torch.zeros(0, 5), output_size=7)
    assert pooled.shape == (0, 3, 7, 7)
    (gradient,) = torch.autograd.grad(pooled.sum(), feature)
    assert torch.equal(gradient, torch.zeros_like(feature))
    empty = roi_pool(torch.zeros(2, 3, 0, 8), torch.zeros(1, 5), output_size=2)
    assert torch.equal(empty, torch.zeros(1, 3, 2, 2))
