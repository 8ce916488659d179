"""The kernels on a GPU, against torchvision and the reference, and under all conditions of a training run."""

import threading

import pytest
import torch
import torchvision.ops
from torch.testing import assert_close

from lightning_rcnn.bench.roi_align import Workload, cuda_contenders
from lightning_rcnn.ops import (
    align_bitmaps,
    assign_levels,
    fill_polygons,
    multiscale_roi_align,
    multiscale_roi_pool,
    roi_align,
    roi_pool,
)
from lightning_rcnn.ops.cpu.pixel_weights import Grid, Pyramid
from lightning_rcnn.ops.cuda import operations
from lightning_rcnn.ops.gather import gather_boxes
from lightning_rcnn.ops.nms import batched_nms, non_maximum_suppression
from lightning_rcnn.ops.reference import roi_align_reference
from lightning_rcnn.structures import Bitmaps, Polygons

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no CUDA device"),
]

LAYOUTS = [torch.contiguous_format, torch.channels_last]


@pytest.fixture
def workload():
    return Workload(2, 256, 320, 256, (4, 8, 16, 32), 128, 7, clustered=True)


@pytest.fixture
def leaves(workload):
    return [f.cuda().contiguous(memory_format=torch.channels_last).requires_grad_() for f in workload.features()]


@pytest.fixture
def pool(workload, leaves):
    """Return a function that pools the leaves, by default only with the kernels."""

    def pool(rois, features=leaves, impl="cuda", **options):
        return multiscale_roi_align(features, rois, output_size=7, scales=workload.scales, impl=impl, **options)

    return pool


def test_random_cases_agree_with_torchvision():
    import random_cases

    for seed in range(200):
        case = random_cases.draw(seed)
        forward, backward = random_cases.align_errors(case, "cuda")
        assert forward <= 5e-5, seed
        assert backward <= 5e-5, seed
        forward, backward = random_cases.pool_errors(case, "cuda")
        assert forward == 0, seed
        assert backward <= 5e-5, seed


@pytest.mark.parametrize("memory_format", LAYOUTS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("sampling_ratio", [0, 2])
def test_a_pyramid_agrees_with_the_reference(workload, pool, leaves, dtype, memory_format, sampling_ratio):
    rois = workload.rois()
    features = [f.detach().to(dtype, memory_format=memory_format).requires_grad_() for f in leaves]
    precise = [f.detach().double().cpu().requires_grad_() for f in features]
    expected = roi_align_reference(
        precise,
        rois,
        assign_levels(rois[:, 1:], workload.scales),
        output_size=(7, 7),
        scales=workload.scales,
        sampling_ratio=sampling_ratio,
        aligned=True,
    )
    pooled = pool(rois.cuda(), features, sampling_ratio=sampling_ratio, aligned=True)
    grad = torch.randn_like(pooled)
    gradients = torch.autograd.grad(pooled, features, grad)
    expected_gradients = torch.autograd.grad(expected, precise, grad.double().cpu())
    tolerance = {"rtol": torch.finfo(dtype).eps, "atol": 1e-4}
    assert_close(pooled.double().cpu(), expected.detach(), **tolerance)
    for ours, theirs in zip(gradients, expected_gradients, strict=True):
        assert ours.is_contiguous(memory_format=memory_format)
        assert_close(ours.double().cpu(), theirs, **tolerance)


def test_a_pyramid_is_max_pooled_as_on_the_host(workload, leaves):
    rois = workload.rois()
    hosted = [leaf.detach().cpu().requires_grad_() for leaf in leaves]
    pooled = multiscale_roi_pool(leaves, rois.cuda(), output_size=7, scales=workload.scales, impl="cuda")
    expected = multiscale_roi_pool(hosted, rois, output_size=7, scales=workload.scales)
    assert torch.equal(pooled.cpu(), expected)
    grad = torch.randn_like(expected)
    gradients = torch.autograd.grad(pooled, leaves, grad.cuda())
    for ours, theirs in zip(gradients, torch.autograd.grad(expected, hosted, grad), strict=True):
        assert_close(ours.cpu(), theirs, rtol=1e-5, atol=1e-4)


def test_bitmaps_are_aligned_as_whole_masks_by_torchvision():
    import random_masks

    for seed in range(200):
        assert random_masks.bitmap_error(random_masks.draw_masks(seed), "cuda") <= 1e-5, seed


def test_images_are_rendered_as_by_torch_and_pillow():
    import random_rendering

    for seed in range(200):
        case = random_rendering.draw_rendering(seed)
        assert random_rendering.is_rendered(case, "cuda", impl="cuda"), seed
        rendered = case.to("cuda").rendered("cuda").cpu()
        assert case.rule == "linear" or torch.equal(rendered, case.rendered("portable")), seed


def test_colors_are_changed_as_by_torchvision():
    import random_colors

    for seed in range(200):
        for max_steps in (1, 6):
            assert random_colors.has_colors(random_colors.draw_colors(seed, max_steps), "cuda", "cuda"), seed


@pytest.fixture
def mask_arguments():
    """Draw bitmaps, polygons and regions of two images on the GPU."""
    generator = torch.Generator().manual_seed(0)
    sizes = torch.tensor([[[300, 400], [64, 50], [0, 0]], [[9, 7], [1, 1], [120, 33]]])
    num_bytes = -(-sizes.prod(-1) // 8)
    first_byte = num_bytes.flatten().cumsum(0).view(2, 3) - num_bytes
    bits = torch.randint(0, 256, (int(num_bytes.sum()),), dtype=torch.uint8, generator=generator)
    corners = torch.rand(2, 3, 2, generator=generator) * 200
    bitmaps = Bitmaps(bits, first_byte, sizes, torch.cat((corners, corners + 0.7 * sizes.flip(-1)), dim=-1))
    angles = torch.linspace(0, 6.2832, 65)
    points = corners[:, :, None] + 30 + 25 * torch.stack((angles.cos(), angles.sin()), dim=-1)
    outlines = Polygons(torch.cat((points[:, :, :-1], points[:, :, 1:]), dim=-1))
    gt_index = torch.randint(0, 3, (2, 64), generator=generator)
    boxes = gather_boxes(bitmaps.boxes, gt_index)
    boxes = boxes + torch.randn(boxes.shape, generator=generator) * 9
    is_valid = torch.rand(2, 64, generator=generator) < 0.8
    regions = tuple(part.cuda() for part in (boxes, gt_index, is_valid))
    return Bitmaps(*(part.cuda() for part in bitmaps)), Polygons(outlines.edges.cuda()), regions


@pytest.mark.parametrize("aligned", [False, True])
def test_mask_targets_are_those_of_the_host(mask_arguments, aligned):
    bitmaps, outlines, regions = mask_arguments
    ours = align_bitmaps(bitmaps, *regions, aligned=aligned, impl="cuda")
    theirs = align_bitmaps(bitmaps, *regions, aligned=aligned, impl="portable")
    # Where the length of a region is next to a multiple of the cells, rounding may give it a sample more.
    assert ((ours - theirs).abs() > 1e-4).float().mean() < 1e-3
    on_host = fill_polygons(Polygons(outlines.edges.cpu()), *(part.cpu() for part in regions))
    assert (fill_polygons(outlines, *regions).cpu() != on_host).float().mean() < 1e-4


def test_mask_targets_need_no_host_sync_and_follow_a_captured_graph(mask_arguments):
    bitmaps, outlines, (boxes, gt_index, is_valid) = mask_arguments

    def targets():
        soft = align_bitmaps(bitmaps, boxes, gt_index, is_valid, aligned=False, impl="cuda")
        return soft, fill_polygons(outlines, boxes, gt_index, is_valid)

    targets()  # loads the kernel
    torch.cuda.set_sync_debug_mode("error")
    try:
        targets()
    finally:
        torch.cuda.set_sync_debug_mode("default")
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        captured = targets()
    boxes.add_(3.0)
    graph.replay()
    assert all(map(torch.equal, captured, targets()))


def test_suppression_keeps_the_boxes_of_torchvision_on_the_host():
    import random_suppression

    for seed in range(200):
        assert random_suppression.num_wrong(random_suppression.draw_boxes(seed), "cuda") == 0, seed


@pytest.fixture
def candidates():
    """Draw the boxes, scores and levels of a training step: two images on the GPU with five levels each."""
    generator = torch.Generator().manual_seed(0)
    corners = torch.rand(2, 8819, 2, generator=generator) * 800
    sides = torch.exp(torch.randn(2, 8819, 2, generator=generator) + 3.5)
    levels = torch.arange(8819).div(2000, rounding_mode="floor").expand(2, -1)
    scores = torch.randn(2, 8819, generator=generator)
    return torch.cat((corners, corners + sides), dim=-1).cuda(), scores.cuda(), levels.cuda()


def test_many_candidates_are_suppressed_as_on_the_host(candidates):
    expected = non_maximum_suppression(*(part.cpu() for part in candidates), 0.7)
    assert torch.equal(non_maximum_suppression(*candidates, 0.7).cpu(), expected)


def test_suppression_needs_no_host_sync_and_follows_a_captured_graph(candidates):
    boxes, scores, levels = candidates
    batched_nms(boxes, scores, levels, 0.7, 1000)  # loads the kernel
    torch.cuda.set_sync_debug_mode("error")
    try:
        batched_nms(boxes, scores, levels, 0.7, 1000)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        captured = batched_nms(boxes, scores, levels, 0.7, 1000)
    scores.copy_(scores.flip(1))
    graph.replay()
    assert all(map(torch.equal, captured, batched_nms(boxes, scores, levels, 0.7, 1000)))


def test_contenders_of_the_benchmark_pool_the_same_values(workload):
    contenders = {contender.name: contender for contender in cuda_contenders(workload, workload.rois())}
    for contender in contenders.values():
        # In float16 torchvision's regions are float16 too, and move by up to an eighth of a pixel.
        tolerance = 1.0 if "fp16" in contender.name else 2e-2
        assert_close(contender.pool(), contenders[contender.peer].pool(), rtol=2e-2, atol=tolerance)


def test_reruns_are_bit_identical(workload, pool, leaves):
    rois = workload.rois().cuda()
    grad = torch.randn_like(pool(rois))
    runs = []
    for _ in range(5):
        pooled = pool(rois)
        runs.append([pooled, *torch.autograd.grad(pooled, leaves, grad)])
    assert all(all(map(torch.equal, run, runs[0])) for run in runs)


def test_nothing_waits_for_the_gpu(workload, pool, leaves):
    rois = workload.rois().cuda()
    pool(rois).sum().backward()  # loads the kernels
    roi_pool(leaves[0], rois, output_size=7, spatial_scale=0.25, impl="cuda").sum().backward()
    torch.cuda.set_sync_debug_mode("error")
    try:
        pool(rois).sum().backward()
        roi_pool(leaves[0], rois, output_size=7, spatial_scale=0.25, impl="cuda").sum().backward()
    finally:
        torch.cuda.set_sync_debug_mode("default")


def test_a_captured_graph_follows_its_inputs(workload, pool, leaves):
    rois = workload.rois().cuda()
    grad = torch.randn_like(pool(rois))
    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream):
        torch.autograd.grad(pool(rois), leaves, grad)
    stream.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        pooled = pool(rois)
        gradients = torch.autograd.grad(pooled, leaves, grad)
    for seed in (1, 2):
        torch.manual_seed(seed)
        rois.copy_(workload.rois())
        with torch.no_grad():
            leaves[0].normal_()
        graph.replay()
        fresh = pool(rois)
        assert torch.equal(pooled, fresh)
        assert all(map(torch.equal, gradients, torch.autograd.grad(fresh, leaves, grad)))


def test_a_second_stream_is_used_where_it_is_current(workload, pool, leaves):
    rois = workload.rois().cuda()
    expected = pool(rois)
    stream = torch.cuda.Stream()
    late = torch.zeros_like(rois)
    torch.cuda.synchronize()
    with torch.cuda.stream(stream):
        torch.cuda._sleep(50_000_000)  # on the default stream the regions would still be zeros
        late.copy_(rois)
        pooled = pool(late)
    stream.synchronize()
    assert torch.equal(pooled, expected)


def test_a_fresh_thread_can_launch(workload, pool):
    rois = workload.rois().cuda()
    expected = pool(rois)
    results = []
    thread = threading.Thread(target=lambda: results.append(pool(rois)))
    thread.start()
    thread.join()
    assert torch.equal(results[0], expected)


@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="needs two CUDA devices")
def test_the_device_of_the_tensors_is_used(workload, pool, leaves):
    rois = workload.rois()
    there = [leaf.detach().to("cuda:1").requires_grad_() for leaf in leaves]
    pooled = pool(rois.to("cuda:1"), there)
    pooled.sum().backward()
    assert torch.equal(pooled.cpu(), pool(rois.cuda()).cpu())
    assert there[0].grad.device.index == 1


def test_autocast_leaves_bfloat16_alone(workload, pool, leaves):
    features = [leaf.detach().bfloat16() for leaf in leaves]
    with torch.autocast("cuda", torch.float16):
        assert pool(workload.rois().cuda(), features).dtype == torch.bfloat16


def test_operators_pass_opcheck(make_rois):
    feature = torch.randn(2, 8, 24, 32, device="cuda").contiguous(memory_format=torch.channels_last).requires_grad_()
    rois = make_rois(6).cuda()
    ops, rule = torch.ops.lightning_rcnn, (2, False, 4, 224.0, "cuda")
    torch.library.opcheck(ops.roi_align, ([feature], rois, None, [0.25], [3, 2], *rule))
    torch.library.opcheck(ops.roi_pool, ([feature], rois, None, [0.25], [3, 2], 4, 224.0, "cuda"))


def test_the_operator_of_masks_passes_opcheck(mask_arguments):
    bitmaps, _, regions = mask_arguments
    torch.library.opcheck(torch.ops.lightning_rcnn.align_bitmaps, (*bitmaps, *regions, 28, False, "cuda"))


def test_compiles_without_graph_breaks(workload, pool, leaves):
    def loss(rois):
        return pool(rois).square().mean()

    compiled = torch.compile(loss, fullgraph=True)
    rois = workload.rois().cuda()
    for count in (128, 100):
        expected = torch.autograd.grad(loss(rois[:count]), leaves)
        for ours, theirs in zip(torch.autograd.grad(compiled(rois[:count]), leaves), expected, strict=True):
            assert_close(ours, theirs)


def test_the_portable_implementation_runs_where_the_kernels_cannot(make_rois):
    feature, rois = torch.randn(2, 3, 24, 32, dtype=torch.float64, device="cuda"), make_rois(9).cuda()
    with pytest.warns(UserWarning, match=r"features are torch.float64"):
        pooled = roi_align(feature, rois, output_size=3, spatial_scale=0.25)
    assert_close(pooled, torchvision.ops.roi_align(feature, rois.double(), 3, 0.25, 2))
    with pytest.raises(RuntimeError, match=r"torch.float64"):
        roi_align(feature, rois, output_size=3, spatial_scale=0.25, impl="cuda")


def test_maps_of_more_than_two_to_the_31_elements():
    shape = (2, 256, 2304, 2048)
    if torch.cuda.mem_get_info()[0] < 4 * 2 * 2 * 256 * 2304 * 2048:
        pytest.skip("needs 20 GB of free memory on the GPU")
    feature = torch.empty(shape, dtype=torch.bfloat16, device="cuda", memory_format=torch.channels_last).fill_(1)
    rois = torch.tensor([[1, 2000.0, 2000.0, 2040.0, 2100.0]], device="cuda")
    grid, rule = Grid((2, 2), 2, False), operations.LevelRule(4, 224.0)
    pooled = operations.roi_align([feature], rois, None, [1.0], grid, rule)
    assert_close(pooled, torch.ones_like(pooled))
    del feature
    sizes = Pyramid(2, [2304], [2048], [1.0])
    (gradient,) = operations.roi_align_backward(pooled, rois, None, sizes, grid, rule)
    assert gradient[0].abs().max() == 0
    assert gradient[1].float().sum().item() == pytest.approx(4 * 256, rel=1e-2)
