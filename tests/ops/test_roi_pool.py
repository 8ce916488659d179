"""RoIPool against torchvision's operator and hand-computed values."""

import math

import pytest
import torch
import torchvision.ops
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.testing import assert_close

from lightning_rcnn.ops import assign_levels, multiscale_roi_pool, roi_pool
from lightning_rcnn.ops.cpu import roi_pool as cpu_roi_pool

coordinates = st.floats(-60, 160, width=32)
regions = st.lists(
    st.tuples(st.integers(0, 1), coordinates, coordinates, coordinates, coordinates), min_size=1, max_size=6
)


@settings(max_examples=100, deadline=None)
@given(
    regions,
    st.tuples(st.integers(1, 24), st.integers(1, 24)),
    st.tuples(st.integers(1, 8), st.integers(1, 8)),
    st.sampled_from([1.0, 0.5, 0.3, 1 / 16]),
    st.sampled_from([torch.float32, torch.float64]),
)
def test_agrees_with_torchvision_on_any_box(boxes, map_size, output_size, scale, dtype):
    # Few distinct values: of equal ones the first pixel counts.
    feature = torch.randint(-3, 3, (2, 3, *map_size), generator=torch.Generator().manual_seed(1)).to(dtype)
    leaves = [feature.clone().requires_grad_() for _ in range(2)]
    rois = torch.tensor(boxes, dtype=dtype)
    ours = roi_pool(leaves[0], rois, output_size=output_size, spatial_scale=scale)
    theirs = torchvision.ops.roi_pool(leaves[1], rois, output_size, scale)
    assert torch.equal(ours, theirs)
    weight = torch.randn(ours.shape, dtype=dtype, generator=torch.Generator().manual_seed(2))
    gradients = [
        torch.autograd.grad(pooled, leaf, weight)[0] for pooled, leaf in zip((ours, theirs), leaves, strict=True)
    ]
    assert_close(*gradients)


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_pyramid_pools_each_region_from_its_level(pyramid, make_rois, dtype, memory_format):
    features, scales = pyramid
    rois = make_rois(60)
    rois[::9, 0] = -1
    levels = assign_levels(rois[:, 1:], scales, canonical=(4, 48.0))
    assert levels.unique().numel() == 4
    leaves = [f.to(dtype, memory_format=memory_format).requires_grad_() for f in features]
    pooled = multiscale_roi_pool(leaves, rois, output_size=(4, 3), scales=scales, canonical=(4, 48.0))
    weight = torch.randint(-3, 4, pooled.shape).to(dtype)
    gradients = torch.autograd.grad(pooled, leaves, weight)
    assert pooled.dtype == dtype
    assert pooled.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(pooled[rois[:, 0] < 0], torch.zeros_like(pooled[rois[:, 0] < 0]))
    for level, leaf in enumerate(leaves):
        here = (levels == level) & (rois[:, 0] >= 0)
        single = leaf.detach().float().requires_grad_()
        expected = torchvision.ops.roi_pool(single, rois[here], (4, 3), scales[level])
        assert torch.equal(pooled[here], expected.to(dtype))
        (gradient,) = torch.autograd.grad(expected, single, weight[here].float())
        assert_close(gradients[level], gradient.to(dtype))
        assert gradients[level].is_contiguous(memory_format=memory_format)


def test_levels_may_be_given_and_may_be_out_of_range(pyramid, make_rois):
    features, scales = pyramid
    rois, levels = make_rois(20), torch.arange(20) % 5
    pooled = multiscale_roi_pool(features, rois, output_size=2, scales=scales, levels=levels)
    for level in range(4):
        expected = torchvision.ops.roi_pool(features[level], rois[levels == level], 2, scales[level])
        assert torch.equal(pooled[levels == level], expected)
    assert pooled[levels == 4].abs().max() == 0


def test_large_maps_are_pooled_by_parts(pyramid, make_rois, monkeypatch):
    features = [torch.randn(2, 40, 24 // stride, 32 // stride) for stride in (1, 2)]
    rois = make_rois(30)
    pools = []
    for table, at_once in ((2**23, 2**18), (2**14, 2**9)):
        monkeypatch.setattr(cpu_roi_pool, "_TABLE_ELEMENTS", table)
        monkeypatch.setattr(cpu_roi_pool, "_ELEMENTS_AT_ONCE", at_once)
        pools.append(multiscale_roi_pool(features, rois, output_size=3, scales=[1 / 4, 1 / 8], canonical=(3, 48.0)))
    assert torch.equal(*pools)


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
    pooled = roi_pool(feature, torch.tensor([box], dtype=torch.float32), output_size=2)
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


def test_compiles_without_graph_breaks_into_one_graph_for_any_number_of_regions(pyramid, make_rois):
    features, scales = pyramid
    leaves = [f.requires_grad_() for f in features]

    def loss(rois):
        return multiscale_roi_pool(leaves, rois, output_size=3, scales=scales).square().sum()

    compiled = torch.compile(loss, fullgraph=True, backend="aot_eager")
    for num_rois in (6, 9, 13):
        rois = make_rois(num_rois)
        expected = torch.autograd.grad(loss(rois), leaves)
        assert all(map(torch.equal, torch.autograd.grad(compiled(rois), leaves), expected))


def test_second_derivative_is_refused(make_rois):
    feature = torch.randn(2, 3, 24, 32, requires_grad=True)
    (gradient,) = torch.autograd.grad(
        roi_pool(feature, make_rois(4), output_size=2).square().sum(), feature, create_graph=True
    )
    with pytest.raises(NotImplementedError, match="once only"):
        gradient.sum().backward()
