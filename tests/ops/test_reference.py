import pytest
import torch
import torchvision.ops
from torch.testing import assert_close

from lightning_rcnn.ops import multiscale_roi_align
from lightning_rcnn.ops.reference import roi_align_reference, roi_pool_reference


@pytest.mark.parametrize("aligned", [False, True])
@pytest.mark.parametrize("sampling_ratio", [0, 2, 3])
def test_agrees_with_torchvision_in_double_precision(pyramid, make_rois, sampling_ratio, aligned):
    feature, scale = pyramid[0][1].double(), pyramid[1][1]
    rois = make_rois(40).double()
    levels = torch.zeros(40, dtype=torch.int64)
    rule = {"output_size": (4, 3), "sampling_ratio": sampling_ratio, "aligned": aligned}
    ours = roi_align_reference([feature], rois, levels, scales=[scale], **rule)
    theirs = torchvision.ops.roi_align(feature, rois, spatial_scale=scale, **rule)
    assert_close(ours, theirs, rtol=0, atol=1e-12)


def test_agrees_with_the_operator_on_given_levels(pyramid, make_rois):
    features, scales = pyramid
    leaves = [f.double().requires_grad_() for f in features]
    rois = make_rois(40).double()
    levels = torch.arange(40) % 5  # level 4 is not there
    rule = {"output_size": (2, 3), "sampling_ratio": 2, "aligned": True, "scales": scales}
    slow = roi_align_reference(leaves, rois, levels, **rule)
    fast = multiscale_roi_align(leaves, rois, levels=levels, **rule)
    assert_close(slow, fast, rtol=0, atol=1e-12)
    for ours, theirs in zip(
        torch.autograd.grad(fast.square().sum(), leaves), torch.autograd.grad(slow.square().sum(), leaves), strict=True
    ):
        assert_close(ours, theirs, rtol=0, atol=1e-12)


def test_roi_pool_agrees_with_torchvision(pyramid, make_rois):
    feature = pyramid[0][0].requires_grad_()
    rois = make_rois(40)
    ours = roi_pool_reference(feature, rois, output_size=(4, 3), spatial_scale=0.25)
    theirs = torchvision.ops.roi_pool(feature, rois, (4, 3), 0.25)
    assert torch.equal(ours, theirs)
    weight = torch.randn_like(ours)
    gradients = [torch.autograd.grad((pooled * weight).sum(), feature)[0] for pooled in (ours, theirs)]
    assert_close(*gradients, rtol=0, atol=1e-5)
