"""The kernels' arithmetic, compiled as host C++, against torchvision, the plain reference and themselves."""

import ctypes
import math
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from lightning_rcnn.ops import align_bitmaps, multiscale_roi_align, multiscale_roi_pool, roi_pool
from lightning_rcnn.ops.cpu.pixel_weights import Grid, Pyramid
from lightning_rcnn.ops.cuda import arguments, bitmaps, operations, rendering
from lightning_rcnn.ops.cuda.compiler import ROI_KERNELS, roi_kernels
from lightning_rcnn.ops.cuda.operations import LevelRule
from lightning_rcnn.ops.cuda.rendering import RENDER, ColorParams, RenderParams
from lightning_rcnn.ops.cuda.suppression import NMS, NmsParams, round_down
from lightning_rcnn.ops.level_assignment import assign_levels
from lightning_rcnn.ops.placements import Placement
from lightning_rcnn.ops.reference import roi_align_reference
from lightning_rcnn.structures import Bitmaps

pytestmark = pytest.mark.end_to_end

TOLERANCE = 5e-5
RULE = LevelRule(4, 224.0)
HOST = Path(__file__).parent / "host"


@pytest.fixture(scope="module")
def random_cases():
    import random_cases

    return random_cases


@pytest.mark.parametrize(
    "seeds", [range(50), pytest.param(range(50, 200), marks=pytest.mark.end_to_end)], ids=["first", "more"]
)
def test_roi_align_agrees_with_torchvision(on_host, random_cases, seeds):
    for seed in seeds:
        forward, backward = random_cases.align_errors(random_cases.draw(seed))
        assert forward <= TOLERANCE, seed
        assert backward <= TOLERANCE, seed


def test_roi_pool_agrees_with_torchvision(on_host, random_cases):
    for seed in range(80):
        forward, backward = random_cases.pool_errors(random_cases.draw(seed))
        assert forward == 0, seed
        assert backward <= TOLERANCE, seed


def test_suppression_keeps_the_boxes_of_torchvision(on_host):
    import random_suppression

    for seed in range(60):
        assert random_suppression.num_wrong(random_suppression.draw_boxes(seed)) == 0, seed


def test_the_threshold_of_suppression_is_a_number_of_32_bits():
    for threshold in (0.0, 0.3, 0.5, 0.7, 1.0):
        rounded = round_down(threshold)
        above = float(np.nextafter(np.float32(rounded), np.float32(2)))
        assert rounded == np.float32(rounded)
        assert rounded <= threshold < above


def test_images_are_rendered_as_by_torch_and_pillow(on_host, monkeypatch):
    import random_rendering

    monkeypatch.setattr(rendering, "obstacle", lambda *_: "")
    for seed in range(60):
        case = random_rendering.draw_rendering(seed)
        assert random_rendering.is_rendered(case, impl="cuda"), seed
        ours, portable = case.rendered("cuda"), case.rendered("portable")
        assert ours.stride() == portable.stride()
        assert case.rule == "linear" or torch.equal(ours, portable), seed


def test_colors_are_changed_as_by_torchvision(on_host, monkeypatch):
    import random_colors

    monkeypatch.setattr(rendering, "obstacle", lambda *_: "")
    monkeypatch.setattr(rendering, "_COLOR_BLOCKS", 2)
    for seed in range(30):
        for max_steps in (1, 6):
            assert random_colors.has_colors(random_colors.draw_colors(seed, max_steps), impl="cuda"), seed


def test_bitmaps_are_aligned_as_whole_masks_by_torchvision(on_host):
    import random_masks

    for seed in range(80):
        assert random_masks.bitmap_error(random_masks.draw_masks(seed)) <= 1e-5, seed


def test_bitmaps_are_aligned_in_odd_regions_as_on_the_host(on_host, monkeypatch):
    masks = Bitmaps(
        torch.full((32,), 0b10110111, dtype=torch.uint8),
        torch.tensor([[0, 0, 9]]),
        torch.tensor([[[8, 9], [0, 0], [13, 14]]]),
        torch.tensor([[[3.0, 2.0, 15.0, 10.0], [0.0] * 4, [0.0, 0.0, 14.0, 13.0]]]),
    )
    boxes = torch.tensor([[box[1:] for box in ODD_BOXES.values()]], dtype=torch.float32).repeat(1, 3, 1)
    gt_index = torch.arange(3).repeat_interleave(len(ODD_BOXES))[None]
    is_valid = torch.ones_like(gt_index, dtype=torch.bool)
    monkeypatch.setattr(bitmaps, "obstacle", lambda *_: "")
    for aligned in (False, True):
        ours, theirs = (
            align_bitmaps(masks, boxes, gt_index, is_valid, size=5, aligned=aligned, impl=impl)
            for impl in ("cuda", "portable")
        )
        assert_close(ours, theirs, rtol=0, atol=1e-5)
        assert theirs.max() > 0


def test_bits_beyond_two_to_the_31_bytes_are_found(on_host):
    first = 2**31 + 5
    memory = np.zeros(first + 2, dtype=np.uint8)  # pages that are never touched take no memory
    memory[first] = 0b11110000
    masks = Bitmaps(
        torch.from_numpy(memory),
        torch.tensor([[first]]),
        torch.tensor([[[2, 4]]]),
        torch.tensor([[[0.0, 0.0, 4.0, 2.0]]]),
    )
    boxes, gt_index = torch.tensor([[[0.0, 0.0, 4.0, 2.0]]]), torch.tensor([[0]])
    targets = bitmaps.align_bitmaps(masks, boxes, gt_index, torch.tensor([[True]]), 2, True)
    assert targets.tolist() == [[[[1.0, 1.0], [0.0, 0.0]]]]


@pytest.mark.parametrize("sampling_ratio", [0, 2])
def test_levels_are_chosen_in_the_kernel(on_host, pyramid, make_rois, sampling_ratio):
    features, scales = pyramid
    rois = make_rois(60)
    grid, rule = Grid((3, 2), sampling_ratio, False), LevelRule(4, 48.0)
    levels = assign_levels(rois[:, 1:], scales, rule)
    assert levels.unique().numel() == 4
    expected = roi_align_reference(
        [f.double() for f in features],
        rois,
        levels,
        output_size=(3, 2),
        scales=scales,
        sampling_ratio=sampling_ratio,
        aligned=False,
    )
    assert_close(
        operations.roi_align(features, rois, None, scales, grid, rule).double(), expected, rtol=0, atol=TOLERANCE
    )


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_rounded_once(on_host, make_rois, dtype):
    feature = torch.randn(2, 136, 12, 16).to(dtype, memory_format=torch.channels_last)
    rois, grid = make_rois(30), Grid((3, 3), 2, True)
    rule = {"output_size": (3, 3), "scales": [0.125], "sampling_ratio": 2, "aligned": True}
    levels = torch.zeros(30, dtype=torch.int64)
    leaf = feature.double().requires_grad_()
    expected = roi_align_reference([leaf], rois, levels, **rule)
    pooled = operations.roi_align([feature], rois, levels, [0.125], grid, RULE)
    grad = torch.randn_like(pooled)
    (expected_grad,) = torch.autograd.grad(expected, leaf, grad.double())
    (gradient,) = operations.roi_align_backward(grad, rois, levels, Pyramid(2, [12], [16], [0.125]), grid, RULE)
    for ours, precise in ((pooled, expected.detach()), (gradient, expected_grad)):
        assert (ours == precise.to(dtype)).float().mean() > 0.99  # the rest lies between two numbers
        assert_close(ours.double(), precise, rtol=torch.finfo(dtype).eps, atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_conversion_to_half_precision(host_kernels, dtype):
    library = host_kernels.library(roi_kernels(dtype, 8))
    library.to_element.restype, library.to_element.argtypes = ctypes.c_ushort, [ctypes.c_float]
    exponents = torch.arange(-30, 20).repeat_interleave(40)
    values = torch.randn(2000) * 2.0**exponents
    values = torch.cat((values, torch.tensor([0.0, -0.0, 65519.9, 65520.0, 1e30, -math.inf, 2.0**-25, 3 * 2.0**-25])))
    ours = [library.to_element(value) for value in values.tolist()]
    assert ours == values.to(dtype).view(torch.uint16).tolist()
    assert library.to_element(math.nan) & 0x7FFF > (0x7C00 if dtype == torch.float16 else 0x7F80)


ODD_BOXES = {
    "padding": (-1, 0, 0, 32, 32),
    "no such image": (2, 0, 0, 32, 32),
    "NaN image": (math.nan, 0, 0, 32, 32),
    "NaN corner": (0, math.nan, 0, 32, 32),
    "infinite": (0, 0, -math.inf, 32, math.inf),
    "outside": (0, 500, 500, 600, 600),
    "before": (1, -900, -900, -100, -100),
    "inverted": (1, 90, 80, 20, 10),
    "inverted along x": (1, 90, 10, 20, 80),
    "without area": (0, 31.5, 20, 31.5, 20),
    "a million pixels": (1, -500_000, -500_000, 500_000, 500_000),
    "a million pixels to the right": (0, 8, 8, 1_000_008, 1_000_008),
}


@pytest.mark.parametrize("aligned", [False, True])
@pytest.mark.parametrize("sampling_ratio", [0, 1, 2, 3])
def test_odd_boxes_pool_as_in_the_portable_implementation(on_host, pyramid, sampling_ratio, aligned):
    features, scales = pyramid
    rois = torch.tensor(list(ODD_BOXES.values()), dtype=torch.float32)
    leaves = [f.clone().requires_grad_() for f in features]
    expected = multiscale_roi_align(
        leaves, rois, output_size=3, scales=scales, sampling_ratio=sampling_ratio, aligned=aligned
    )
    grid = Grid((3, 3), sampling_ratio, aligned)
    pooled = operations.roi_align(features, rois, None, scales, grid, RULE)
    for name, ours, theirs in zip(ODD_BOXES, pooled, expected, strict=True):
        assert_close(ours, theirs, rtol=0, atol=TOLERANCE, msg=name)
    grad = torch.randn(pooled.shape)
    sizes = Pyramid(2, [f.shape[2] for f in features], [f.shape[3] for f in features], scales)
    gradients = operations.roi_align_backward(grad, rois, None, sizes, grid, RULE)
    for ours, theirs in zip(gradients, torch.autograd.grad(expected, leaves, grad), strict=True):
        assert_close(ours, theirs, rtol=0, atol=TOLERANCE)


def test_odd_boxes_pool_as_torchvision_does(on_host, pyramid):
    feature = pyramid[0][0].requires_grad_()
    rois = torch.tensor(list(ODD_BOXES.values()), dtype=torch.float32)
    expected = roi_pool(feature, rois, output_size=3, spatial_scale=0.25)
    pooled, argmax = operations.roi_pool([feature.detach()], rois, None, [0.25], (3, 3), RULE)
    assert torch.equal(pooled, expected)
    grad = torch.randn(pooled.shape)
    (gradient,) = operations.roi_pool_backward(grad, argmax, rois, None, Pyramid(2, [24], [32], [0.25]), RULE)
    assert_close(gradient, torch.autograd.grad(expected, feature, grad)[0], rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize("shape", [(2, 3, 0, 8), (2, 3, 8, 0), (0, 3, 8, 8), (2, 0, 8, 8), (2, 3, 8, 8)])
def test_empty_maps_and_no_regions(on_host, shape):
    for rois in (torch.zeros(0, 5), torch.tensor([[0, 0.0, 0.0, 4.0, 4.0]])):
        feature, grid = torch.zeros(shape), Grid((2, 2), 2, False)
        pooled = operations.roi_align([feature], rois, None, [1.0], grid, RULE)
        assert torch.equal(pooled, torch.zeros(len(rois), shape[1], 2, 2))
        sizes = Pyramid(shape[0], [shape[2]], [shape[3]], [1.0])
        (gradient,) = operations.roi_align_backward(pooled, rois, None, sizes, grid, RULE)
        assert torch.equal(gradient, feature)
        maxima, argmax = operations.roi_pool([feature], rois, None, [1.0], (2, 2), RULE)
        assert maxima.shape == argmax.shape == pooled.shape
        assert torch.equal(operations.roi_pool_backward(maxima, argmax, rois, None, sizes, RULE)[0], feature)


def test_many_regions_on_one_tile_keep_their_order(on_host):
    # More than one segment of the tile's mask, and more than one batch of its weights.
    num_rois = arguments.WORD * 128 + 100
    feature = torch.randn(1, 1, 6, 7)
    corners = torch.rand(num_rois, 2) * 4
    rois = torch.cat((torch.zeros(num_rois, 1), corners, corners + 2), dim=1)
    leaf = feature.clone().requires_grad_()
    grad = torch.randn(num_rois, 1, 1, 1)
    portable = multiscale_roi_align([leaf], rois, output_size=1, scales=[1.0])
    (expected,) = torch.autograd.grad(portable, leaf, grad)
    sizes, grid = Pyramid(1, [6], [7], [1.0]), Grid((1, 1), 2, False)
    (gradient,) = operations.roi_align_backward(grad, rois, None, sizes, grid, RULE)
    assert_close(gradient, expected, rtol=1e-4, atol=1e-3)


def test_the_order_of_threads_changes_no_bit(on_host, monkeypatch, random_cases):
    # This mode fills new memory with NaN: a value that a kernel does not write would show.
    case = random_cases.draw(5)
    torch.use_deterministic_algorithms(True)
    try:
        runs = []
        for reverse in (False, True):
            monkeypatch.setattr(on_host, "reversed", reverse)
            pooled = operations.roi_align(case.features, case.rois, case.levels, case.scales, case.grid, RULE)
            grads = operations.roi_align_backward(pooled, case.rois, case.levels, case.pyramid, case.grid, RULE)
            runs.append([pooled, *grads])
    finally:
        torch.use_deterministic_algorithms(False)
    assert all(map(torch.equal, *runs))
    assert all(result.isfinite().all() for result in runs[0])


def test_a_gradient_that_overflowed_stays_inside_its_region(on_host):
    grad = torch.full((1, 1, 2, 2), math.inf)
    rois = torch.tensor([[0, 2.0, 2.0, 4.0, 4.0]])
    (gradient,) = operations.roi_align_backward(
        grad, rois, None, Pyramid(1, [9], [9], [1.0]), Grid((2, 2), 2, False), RULE
    )
    touched = torch.zeros(9, 9, dtype=torch.bool)
    touched[2:5, 2:5] = True
    assert torch.equal(gradient[0, 0].isinf(), touched)
    assert gradient[0, 0][~touched].abs().max() == 0


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_public_functions_run_the_kernels(on_host, monkeypatch, pyramid, make_rois, memory_format):
    features, scales = pyramid
    rois = make_rois(20)
    leaves = [f.clone(memory_format=memory_format).requires_grad_() for f in features]

    def run(impl):
        pooled = multiscale_roi_align(leaves, rois, output_size=3, scales=scales, impl=impl)
        maxima = multiscale_roi_pool(leaves, rois, output_size=3, scales=scales, impl=impl)
        loss = (pooled.square() + maxima.square()).sum()
        return pooled, maxima, *torch.autograd.grad(loss, leaves)

    portable = run("portable")
    monkeypatch.setattr(operations, "obstacle", lambda *_: "")
    for ours, theirs in zip(run("cuda"), portable, strict=True):
        assert_close(ours, theirs, rtol=1e-4, atol=1e-4)
        assert ours.stride() == theirs.stride()


def test_structures_have_the_compilers_layout(host_kernels):
    library = host_kernels.library(roi_kernels(torch.float32, 1))
    assert library.sizeof_params() == ctypes.sizeof(arguments.Params)
    assert library.sizeof_bitmap_params() == ctypes.sizeof(arguments.BitmapParams)
    assert library.sizeof_transpose_params() == ctypes.sizeof(arguments.TransposeParams)
    assert library.sizeof_region_axes() == arguments.AXES_BYTES
    assert host_kernels.library(NMS).sizeof_params() == ctypes.sizeof(NmsParams)
    assert host_kernels.library(RENDER).sizeof_params() == ctypes.sizeof(RenderParams)
    assert host_kernels.library(RENDER).sizeof_color_params() == ctypes.sizeof(ColorParams)
    assert host_kernels.library(RENDER).sizeof_placement() == len(Placement._fields) * torch.int64.itemsize


@pytest.mark.slow
def test_maps_of_more_than_two_to_the_31_elements(on_host):
    num_channels = 2**17
    memory = np.zeros((2, 128, 128, num_channels), dtype=np.uint16)  # pages that are never touched take no memory
    feature = torch.from_numpy(memory).view(torch.bfloat16).permute(0, 3, 1, 2)
    assert feature.numel() == 2**32
    feature[1, -1, 127, 127] = 3.0
    rois = torch.tensor([[1, 127.0, 127.0, 127.0, 127.0]])
    pooled = operations.roi_align([feature], rois, None, [1.0], Grid((1, 1), 2, False), RULE)
    assert pooled[0, -1].item() == 3.0
    assert pooled.count_nonzero() == 1


def run_random_cases(*arguments, **environment):
    """Run random cases in a process of their own."""
    command = [sys.executable, HOST / "random_cases.py", *map(str, arguments)]
    environment = os.environ | {"OMP_NUM_THREADS": "1"} | environment
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def library_of_the_compiler(name):
    """Ask the C++ compiler for the path of a library; it returns the bare name if it has none."""
    command = ["c++", f"-print-file-name={name}"]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()


def run_under_sanitizers(*arguments):
    """Run random cases with sanitizers that check each access to memory."""
    sanitizer, standard_library = (library_of_the_compiler(name) for name in ("libasan.so", "libstdc++.so.6"))
    if not Path(sanitizer).is_absolute():
        pytest.skip("the C++ compiler has no address sanitizer")
    # The sanitizer must be loaded first to know the bounds of tensors. At its start it looks for the library that
    # throws C++ exceptions. Python loads that library later, so it is preloaded too; without it any exception would end
    # the process.
    preload = f"{sanitizer} {standard_library}"
    return run_random_cases(*arguments, "--sanitize", LD_PRELOAD=preload, ASAN_OPTIONS="detect_leaks=0")


@pytest.mark.end_to_end
def test_no_access_out_of_bounds_and_no_undefined_behavior(host_kernels, tmp_path):
    result = run_under_sanitizers(tmp_path, 0, 30)
    assert result.returncode == 0, result.stderr[:3000]
    assert "all cases pass" in result.stdout


BARRIER = "__syncthreads();"
BARRIERS = [
    pytest.param(source, number, id=f"{source.stem}-{number}")
    for source in (ROI_KERNELS, NMS.source)
    for number in range(source.read_text().count(BARRIER))
]


@pytest.mark.slow
@pytest.mark.parametrize(("source", "barrier"), BARRIERS)
def test_every_barrier_is_needed(host_kernels, tmp_path, source, barrier):
    pieces = source.read_text().split(BARRIER)
    pieces[barrier : barrier + 2] = [pieces[barrier] + pieces[barrier + 1]]
    changed = tmp_path / source.name
    changed.write_text(BARRIER.join(pieces))
    results = [run_random_cases(tmp_path, 0, 40, "--source", changed, *order) for order in ((), ("--reversed",))]
    assert any(result.returncode for result in results)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("source", "right", "wrong"),
    [
        (ROI_KERNELS, "if (tile.x * TILE + i < level.width) {", "if (tile.x * TILE + i <= level.width) {"),
        (NMS.source, "i < count ? boxes[i] : nothing", "i <= count ? boxes[i] : nothing"),
        (RENDER.source, "y < source.height", "y <= source.height"),
    ],
)
def test_the_sanitizers_see_an_error_of_one(host_kernels, tmp_path, source, right, wrong):
    assert right in source.read_text()
    changed = tmp_path / source.name
    changed.write_text(source.read_text().replace(right, wrong))
    result = run_under_sanitizers(tmp_path, 0, 30, "--source", changed)
    assert "heap-buffer-overflow" in result.stderr
