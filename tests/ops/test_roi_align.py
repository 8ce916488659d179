"""RoIAlign against torchvision's operator, hand-computed values and its own adjoint."""

import math

import pytest
import torch
import torchvision.ops
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.testing import assert_close

from lightning_rcnn.ops import multiscale_roi_align, roi_align

TOLERANCE = {"rtol": 0, "atol": 1e-4}

coordinates = st.floats(-60, 160, width=32)
regions = st.lists(
    st.tuples(st.integers(0, 1), coordinates, coordinates, coordinates, coordinates), min_size=1, max_size=6
)


def forward_and_gradient(pool, feature, weight_seed=0):
    leaf = feature.clone().requires_grad_()
    pooled = pool(leaf)
    weight = torch.randn(pooled.shape, generator=torch.Generator().manual_seed(weight_seed))
    (gradient,) = torch.autograd.grad((pooled * weight).sum(), leaf)
    return pooled.detach(), gradient


@settings(max_examples=150, deadline=None)
@given(
    regions,
    st.tuples(st.integers(1, 24), st.integers(1, 24)),
    st.tuples(st.integers(1, 8), st.integers(1, 8)),
    st.sampled_from([0, 1, 2, 3, 4]),
    st.booleans(),
    st.sampled_from([1.0, 0.5, 0.25, 1 / 16]),
)
def test_agrees_with_torchvision_on_any_box(boxes, map_size, output_size, sampling_ratio, aligned, scale):
    feature = torch.randn(2, 3, *map_size, generator=torch.Generator().manual_seed(1))
    rois = torch.tensor(boxes, dtype=torch.float32)
    if aligned and sampling_ratio == 0:  # torchvision's operator fails on inverted boxes here
        rois = torch.cat((rois[:, :1], rois[:, 1:3].minimum(rois[:, 3:]), rois[:, 1:3].maximum(rois[:, 3:])), dim=1)
    settings_ = {"output_size": output_size, "sampling_ratio": sampling_ratio, "aligned": aligned}
    ours = forward_and_gradient(lambda f: roi_align(f, rois, spatial_scale=scale, **settings_), feature)
    theirs = forward_and_gradient(
        lambda f: torchvision.ops.roi_align(f, rois, spatial_scale=scale, **settings_), feature
    )
    assert_close(ours[0], theirs[0], **TOLERANCE)
    assert_close(ours[1], theirs[1], **TOLERANCE)


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("bins", [7, 14])
def test_agrees_with_torchvision_on_a_pyramid(pyramid, make_rois, bins, memory_format):
    features, scales = pyramid
    rois = make_rois(80)
    names = [str(level) for level in range(len(features))]
    pooler = torchvision.ops.MultiScaleRoIAlign(names, bins, 2)
    leaves = [f.clone(memory_format=memory_format).requires_grad_() for f in features]
    rois = rois[rois[:, 0].argsort(stable=True)]
    boxes = [rois[rois[:, 0] == image, 1:] for image in range(2)]
    theirs = pooler(dict(zip(names, leaves, strict=True)), boxes, [(96, 128)] * 2)
    ours = multiscale_roi_align(leaves, rois, output_size=bins, scales=scales)
    assert_close(ours, theirs, **TOLERANCE)
    weight = torch.randn_like(theirs)
    for mine, other in zip(
        torch.autograd.grad((ours * weight).sum(), leaves),
        torch.autograd.grad((theirs * weight).sum(), leaves),
        strict=True,
    ):
        assert_close(mine, other, **TOLERANCE)


def test_ramp_by_hand():
    # Values x + 10 y: linear interpolation is exact, so a bin is the value at the mean of its sample points.
    ramp = torch.arange(6.0)[None, :] + 10 * torch.arange(5.0)[:, None]
    rois = torch.tensor([[0, 1.0, 1.0, 3.0, 3.0]])
    plain = roi_align(ramp[None, None], rois, output_size=2)
    assert_close(plain[0, 0], torch.tensor([[16.5, 17.5], [26.5, 27.5]]))
    aligned = roi_align(ramp[None, None], rois, output_size=2, aligned=True)
    assert_close(aligned[0, 0], torch.tensor([[11.0, 12.0], [21.0, 22.0]]))


def test_a_box_without_area_is_one_pixel_wide_unless_aligned():
    ramp = torch.arange(8.0).expand(1, 1, 8, 8)
    rois = torch.tensor([[0, 2.0, 2.0, 2.0, 2.0]])
    assert_close(roi_align(ramp, rois, output_size=1), torch.tensor([[[[2.5]]]]))
    assert_close(roi_align(ramp, rois, output_size=1, aligned=True), torch.tensor([[[[1.5]]]]))


def test_backward_is_the_adjoint_in_double_precision(pyramid, make_rois):
    features, scales = pyramid
    leaves = [f.double().requires_grad_() for f in features]
    rois = make_rois(30).double()
    pooled = multiscale_roi_align(leaves, rois, output_size=(3, 5), scales=scales, sampling_ratio=0, aligned=True)
    weight = torch.randn_like(pooled)
    gradients = torch.autograd.grad(pooled, leaves, weight)
    products = sum((gradient * leaf).sum() for gradient, leaf in zip(gradients, leaves, strict=True))
    assert products.item() == pytest.approx((pooled * weight).sum().item(), abs=1e-10)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_rounded_once(pyramid, make_rois, dtype):
    features, scales = pyramid
    # Many regions on top of each other: a gradient summed in bfloat16 would stall.
    rois = make_rois(5).repeat(100, 1)
    halves = [f.to(dtype).requires_grad_() for f in features]
    singles = [f.to(dtype).float().requires_grad_() for f in features]
    pooled = multiscale_roi_align(halves, rois, output_size=7, scales=scales)
    precise = multiscale_roi_align(singles, rois, output_size=7, scales=scales)
    assert pooled.dtype == dtype
    assert torch.equal(pooled, precise.to(dtype))
    gradients = torch.autograd.grad(pooled, halves, torch.ones_like(pooled))
    expected = torch.autograd.grad(precise, singles, torch.ones_like(precise))
    assert all(torch.equal(g, e.to(dtype)) for g, e in zip(gradients, expected, strict=True))


def test_reruns_are_bit_identical(pyramid, make_rois):
    features, scales = pyramid
    leaves = [f.requires_grad_() for f in features]
    rois = make_rois(200)

    def run():
        pooled = multiscale_roi_align(leaves, rois, output_size=7, scales=scales)
        return pooled, *torch.autograd.grad(pooled, leaves, torch.linspace(-1, 1, pooled.numel()).view(pooled.shape))

    assert all(torch.equal(first, second) for first, second in zip(run(), run(), strict=True))


@pytest.mark.parametrize(
    ("box", "reason"),
    [
        ((-1, 0, 0, 32, 32), "marked as padding"),
        ((2, 0, 0, 32, 32), "an image that does not exist"),
        ((0, math.nan, 0, 32, 32), "NaN"),
        ((0, 0, -math.inf, 32, math.inf), "infinite"),
        ((0, 500, 500, 600, 600), "outside the map"),
        ((0, -900, -900, -100, -100), "before the map"),
    ],
)
@pytest.mark.parametrize("sampling_ratio", [0, 2])
def test_regions_that_pool_to_zeros(pyramid, box, reason, sampling_ratio):
    features, scales = pyramid
    leaves = [f.requires_grad_() for f in features]
    pooled = multiscale_roi_align(
        leaves, torch.tensor([box], dtype=torch.float32), output_size=3, scales=scales, sampling_ratio=sampling_ratio
    )
    assert torch.equal(pooled, torch.zeros(1, 5, 3, 3)), reason
    assert all(gradient.abs().max() == 0 for gradient in torch.autograd.grad(pooled.sum(), leaves)), reason


def test_an_adaptive_grid_over_an_inverted_box_has_no_samples():
    rois = torch.tensor([[0, 6.0, 6.0, 2.0, 2.0]])
    assert roi_align(torch.ones(1, 1, 8, 8), rois, output_size=2, sampling_ratio=0, aligned=True).abs().max() == 0


def test_an_adaptive_grid_over_a_huge_box_reads_only_the_map():
    feature = torch.randn(1, 2, 12, 10)
    size = 2.0**20  # one sample a pixel, a million of them along each side
    rois = torch.tensor([[0, -size / 2, -size / 2, size / 2, size / 2]])
    pooled = roi_align(feature, rois, output_size=1, sampling_ratio=0)
    # Samples at y + 0.5 for every pixel: each pixel but the clamped borders weighs 1.
    line = torch.ones(12)
    column = torch.ones(10)
    line[[0, -1]] = column[[0, -1]] = 1.5
    expected = torch.einsum("nchw,h,w->nc", feature, line, column) / size**2
    assert_close(pooled[:, :, 0, 0] * size**2, expected * size**2, rtol=1e-4, atol=1e-3)


def test_no_regions_and_empty_maps():
    feature = torch.randn(2, 3, 8, 8, requires_grad=True)
    pooled = roi_align(feature, torch.zeros(0, 5), output_size=7)
    assert pooled.shape == (0, 3, 7, 7)
    (gradient,) = torch.autograd.grad(pooled.sum(), feature)
    assert torch.equal(gradient, torch.zeros_like(feature))
    rois = torch.tensor([[0, 0.0, 0.0, 4.0, 4.0]])
    for shape in ((2, 3, 0, 8), (2, 3, 8, 0), (0, 3, 8, 8)):
        assert torch.equal(roi_align(torch.zeros(shape), rois, output_size=2), torch.zeros(1, 3, 2, 2))
    assert roi_align(torch.zeros(2, 0, 8, 8), rois, output_size=2).shape == (1, 0, 2, 2)


def test_autocast_leaves_features_in_their_type(make_rois):
    feature = torch.randn(2, 3, 24, 32, dtype=torch.bfloat16)
    with torch.autocast("cpu", torch.bfloat16):
        assert roi_align(feature, make_rois(4), output_size=2).dtype == torch.bfloat16


def test_inference_mode_does_not_spoil_later_training(make_rois):
    feature = torch.randn(2, 3, 24, 32)
    with torch.inference_mode():
        roi_align(feature, make_rois(4), output_size=2)
    roi_align(feature.requires_grad_(), make_rois(4), output_size=2).sum().backward()
    assert feature.grad is not None


def test_second_derivative_is_refused(make_rois):
    feature = torch.randn(2, 3, 24, 32, requires_grad=True)
    pooled = roi_align(feature, make_rois(4), output_size=2)
    (gradient,) = torch.autograd.grad(pooled.square().sum(), feature, create_graph=True)
    with pytest.raises(NotImplementedError, match="once only"):
        gradient.sum().backward()


def test_compiles_without_graph_breaks(pyramid, make_rois):
    features, scales = pyramid
    leaves = [f.requires_grad_() for f in features]

    def loss(rois):
        return multiscale_roi_align(leaves, rois, output_size=3, scales=scales).square().sum()

    compiled = torch.compile(loss, fullgraph=True, backend="aot_eager")
    for num_rois in (6, 9, 13):
        rois = make_rois(num_rois)
        expected = torch.autograd.grad(loss(rois), leaves)
        assert all(map(torch.equal, torch.autograd.grad(compiled(rois), leaves), expected))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"scales": [0.25]}, "as many scales"),
        ({"scales": [0.25, 0.2]}, "do not halve"),
        ({"rois": torch.zeros(3, 4)}, r"\[R, 5\]"),
        ({"levels": torch.zeros(2)}, "one entry for each"),
        ({"output_size": 0}, "positive"),
        ({"features": [torch.zeros(1, 2, 4, 4), torch.zeros(1, 3, 2, 2)]}, "same N and C"),
    ],
)
def test_wrong_arguments_are_named(change, message):
    arguments = {
        "features": [torch.zeros(1, 2, 4, 4), torch.zeros(1, 2, 2, 2)],
        "rois": torch.zeros(3, 5),
        "output_size": 2,
        "scales": [0.25, 0.125],
    } | change
    with pytest.raises(ValueError, match=message):
        multiscale_roi_align(arguments.pop("features"), arguments.pop("rois"), **arguments)


def test_mixed_types_are_refused():
    with pytest.raises(TypeError, match="one floating-point type"):
        multiscale_roi_align(
            [torch.zeros(1, 2, 4, 4), torch.zeros(1, 2, 2, 2).half()], torch.zeros(1, 5), output_size=2, scales=[1, 0.5]
        )
