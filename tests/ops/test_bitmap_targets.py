"""RoIAlign of packed bitmaps against torchvision's targets, the plain reference and hand-computed values."""

import numpy as np
import pycocotools.mask
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.testing import assert_close
from torchvision.models.detection.roi_heads import project_masks_on_boxes

from lightning_rcnn.data.collate_masks import collate_bitmaps
from lightning_rcnn.data.geometry import AxisAlignedMap
from lightning_rcnn.data.segmentations import crop_bitmaps
from lightning_rcnn.ops import align_bitmaps, has_mask
from lightning_rcnn.ops.cpu import bitmaps as cpu_bitmaps
from lightning_rcnn.ops.reference import roi_align_reference

HEIGHT, WIDTH = 40, 56
UNCHANGED = AxisAlignedMap(1.0, 0.0, 1.0, 0.0)
TOLERANCE = {"rtol": 0, "atol": 1e-5}


def draw_masks(seed, num_objects=4):
    """Draw noise in rectangles, some of which touch the image's edge, uint8 [M, H, W]."""
    generator = np.random.default_rng(seed)
    masks = np.zeros((num_objects, HEIGHT, WIDTH), np.uint8)
    for mask in masks:
        top, left = generator.integers(-8, HEIGHT - 4), generator.integers(-8, WIDTH - 4)
        height, width = generator.integers(9, 40, 2)
        part = mask[max(top, 0) : top + height, max(left, 0) : left + width]
        part[:] = generator.random(part.shape) < generator.uniform(0.3, 1)
        part[-1, -1] = 1
    return masks


def pack(*images, num_slots=4, to_resized=UNCHANGED):
    """Collate the masks of images [M, H, W] as for the detector."""
    crops = []
    for masks in images:
        run_lengths = pycocotools.mask.encode(np.asfortranarray(masks.transpose(1, 2, 0)))
        segmentations = [{"size": rle["size"], "counts": rle["counts"].decode()} for rle in run_lengths]
        crops.append(crop_bitmaps(segmentations, *masks.shape[1:], to_resized))
    return collate_bitmaps(crops, num_slots)


def align(masks, boxes, gt_index, aligned, size=28):
    """Compute the targets of one image's regions."""
    boxes = torch.as_tensor(boxes, dtype=torch.float32)
    is_valid = torch.ones(1, len(boxes), dtype=torch.bool)
    return align_bitmaps(masks, boxes[None], torch.as_tensor(gt_index)[None], is_valid, size=size, aligned=aligned)[0]


def reference(masks, boxes, gt_index, aligned, size=28):
    """Compute the targets from whole masks, by the plain implementation in double precision."""
    rois = torch.cat((torch.as_tensor(gt_index)[:, None], torch.as_tensor(boxes)), dim=1).double()
    maps = torch.from_numpy(masks)[:, None].double()
    levels = torch.zeros(len(rois), dtype=torch.int64)
    rule = {"output_size": (size, size), "scales": [1.0], "sampling_ratio": 0, "aligned": aligned}
    return roi_align_reference([maps], rois, levels, **rule)[:, 0].float()


sixty_fourths = st.integers(-20 * 64, 76 * 64).map(lambda number: number / 64)
box_lists = st.lists(st.tuples(sixty_fourths, sixty_fourths, sixty_fourths, sixty_fourths), min_size=1, max_size=8)


def upright(boxes):
    boxes = torch.tensor(boxes)
    return torch.cat((boxes[:, :2].minimum(boxes[:, 2:]), boxes[:, :2].maximum(boxes[:, 2:])), dim=1)


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 1000), box_lists, st.sampled_from([1, 5, 28]))
def test_soft_targets_are_torchvisions(seed, boxes, size):
    masks, boxes = draw_masks(seed), upright(boxes)
    gt_index = torch.arange(len(boxes)) % len(masks)
    expected = project_masks_on_boxes(torch.from_numpy(masks), boxes.double(), gt_index, size)
    assert_close(align(pack(masks), boxes, gt_index, aligned=False, size=size), expected.float(), **TOLERANCE)


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 1000), box_lists, st.sampled_from([1, 5, 28]))
def test_binary_targets_are_those_of_the_whole_mask(seed, boxes, size):
    masks, boxes = draw_masks(seed), upright(boxes)
    gt_index = torch.arange(len(boxes)) % len(masks)
    expected = reference(masks, boxes, gt_index, aligned=True, size=size)
    ours = align(pack(masks), boxes, gt_index, aligned=True, size=size)
    assert_close(ours, expected, **TOLERANCE)
    is_clear = (expected - 0.5).abs() > 1e-5
    assert torch.equal((ours >= 0.5)[is_clear], (expected >= 0.5)[is_clear])


def test_covered_fraction_of_each_cell_by_hand():
    masks = np.zeros((1, 8, 8), np.uint8)
    masks[0, 2:6, 2:4] = 1  # rows 2 to 5, columns 2 and 3
    quarters = align(pack(masks), [[0, 0, 8, 8]], [0], aligned=True, size=4)[0]
    column = torch.tensor([0.0, 1.0, 1.0, 0.0])
    row = torch.tensor([0.0, 1.0, 0.0, 0.0])
    assert torch.equal(quarters, column[:, None] * row)
    # Without `aligned` samples lie half a pixel further to the right and below: each is the mean of two columns.
    shifted = align(pack(masks), [[0, 0, 8, 8]], [0], aligned=False, size=4)[0]
    column = torch.tensor([0.25, 1.0, 0.75, 0.0])
    row = torch.tensor([0.25, 0.75, 0.0, 0.0])
    assert_close(shifted, column[:, None] * row, **TOLERANCE)


@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize("scale", [(0.5, 0.5), (2.0, 2.0), (1.7, 0.6)])
def test_a_mask_of_another_resolution_is_sampled_in_its_own_pixels(scale, flip):
    masks = draw_masks(3)
    generator = torch.Generator().manual_seed(0)
    boxes = upright((torch.rand(30, 4, generator=generator) * 70 - 10).tolist())  # in the bitmap's pixels
    gt_index = torch.arange(30) % 4
    pixel = torch.tensor([scale[1], scale[0]])  # of the bitmap, in the resized frame
    seen = masks[:, :, ::-1].copy() if flip else masks
    to_resized = AxisAlignedMap(-scale[1] if flip else scale[1], WIDTH * scale[1] if flip else 0.0, scale[0], 0.0)
    packed = pack(masks, to_resized=to_resized)
    ours = align(packed, boxes * pixel.repeat(2), gt_index, aligned=True)
    assert_close(ours, reference(seen, boxes, gt_index, aligned=True), rtol=0, atol=1e-4)

    # Without `aligned` regions move by half a pixel of the resized frame and are at least one such pixel wide.
    ours = align(packed, boxes * pixel.repeat(2), gt_index, aligned=False)
    start, length = boxes[:, :2] + 0.5 / pixel, (boxes[:, 2:] - boxes[:, :2]).maximum(1 / pixel)
    boxes = torch.cat((start, start + length), dim=1)
    assert_close(ours, reference(seen, boxes, gt_index, aligned=True), rtol=0, atol=1e-4)


def test_regions_without_a_target_are_zeros():
    masks = draw_masks(0)
    packed = pack(masks, num_slots=6)
    assert has_mask(packed).tolist() == [[True] * 4 + [False] * 2]
    inside, nan, far = [0.0, 0.0, WIDTH, HEIGHT], [0.0, float("nan"), 9.0, 9.0], [-1e38, 0.0, 1e38, 9.0]
    boxes = torch.tensor([[inside, inside, inside, nan, far, [9.0, 9.0, 3.0, 3.0]]])
    gt_index = torch.tensor([[0, 0, 5, 1, 1, 1]])
    is_valid = torch.tensor([[True, False, True, True, True, True]])
    targets = align_bitmaps(packed, boxes, gt_index, is_valid, aligned=True)
    assert targets[0, 0].max() > 0
    assert targets[0, 1:].abs().max() == 0


def test_no_regions():
    targets = align_bitmaps(
        pack(draw_masks(0)),
        torch.zeros(1, 0, 4),
        torch.zeros(1, 0, dtype=torch.int64),
        torch.zeros(1, 0, dtype=torch.bool),
        aligned=True,
    )
    assert targets.shape == (1, 0, 28, 28)


def test_a_huge_region_reads_only_the_mask():
    size = 2.0**20
    masks = np.zeros((1, 16, 16), np.uint8)
    masks[0, 4:8, 4:8] = 1
    box = [[-size / 2, -size / 2, size / 2, size / 2]]
    fraction = align(pack(masks), box, [0], aligned=True, size=1)
    assert_close(fraction * size**2, torch.full((1, 1, 1), 16.0), rtol=1e-3, atol=0)


def test_images_of_a_batch_do_not_mix_and_chunks_change_nothing(monkeypatch):
    generator = torch.Generator().manual_seed(0)
    images = [draw_masks(seed) for seed in range(3)]
    boxes = torch.stack([upright((torch.rand(12, 4, generator=generator) * 50).tolist()) for _ in images])
    gt_index = torch.randint(0, 4, (3, 12), generator=generator)
    is_valid = torch.rand(3, 12, generator=generator) < 0.8
    single = [
        align(pack(masks), *regions, aligned=False) for masks, *regions in zip(images, boxes, gt_index, strict=True)
    ]
    expected = torch.stack(single) * is_valid[:, :, None, None]

    batch = pack(*images, num_slots=8)
    for elements in (2**20, 1000):
        monkeypatch.setattr(cpu_bitmaps, "_ELEMENTS_AT_ONCE", elements)
        assert torch.equal(align_bitmaps(batch, boxes, gt_index, is_valid, aligned=False), expected)


@pytest.fixture
def arguments():
    boxes = upright((torch.rand(6, 4) * 50).tolist())[None]
    return pack(draw_masks(0)), boxes, torch.arange(6)[None] % 4, torch.ones(1, 6, dtype=torch.bool)


def test_passes_opcheck(arguments):
    masks, *regions = arguments
    torch.library.opcheck(torch.ops.lightning_rcnn.align_bitmaps, (*masks, *regions, 28, False, "auto"))


def test_compiles_into_one_graph_for_any_number_of_regions(arguments):
    masks, boxes, gt_index, is_valid = arguments

    def targets(boxes, gt_index, is_valid):
        return align_bitmaps(masks, boxes, gt_index, is_valid, aligned=True) >= 0.5

    compiled = torch.compile(targets, fullgraph=True, backend="aot_eager")
    for count in (6, 4, 2):
        regions = boxes[:, :count], gt_index[:, :count], is_valid[:, :count]
        assert torch.equal(compiled(*regions), targets(*regions))


def test_depends_on_no_value(arguments):
    with FakeTensorMode() as mode:
        masks, *regions = (
            type(part)(*map(mode.from_tensor, part)) if isinstance(part, tuple) else mode.from_tensor(part)
            for part in arguments
        )
        targets = align_bitmaps(masks, *regions, size=14, aligned=True)
    assert targets.shape == (1, 6, 14, 14)
    assert targets.dtype == torch.float32


def test_requiring_the_kernel_where_it_cannot_run_is_an_error(arguments):
    with pytest.raises(RuntimeError, match="on the device cpu"):
        align_bitmaps(*arguments, aligned=True, impl="cuda")
