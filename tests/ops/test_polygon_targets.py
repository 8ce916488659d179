"""Filled outlines against pycocotools, an even-odd test in NumPy, whole bitmaps and hand-computed values."""

import numpy as np
import pycocotools.mask
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch._subclasses.fake_tensor import FakeTensorMode

from lightning_rcnn.data.collate_masks import collate_outlines
from lightning_rcnn.data.geometry import AxisAlignedMap
from lightning_rcnn.data.segmentations import trace_outlines
from lightning_rcnn.ops import fill_polygons, has_mask, mask_targets
from lightning_rcnn.structures import Polygons

UNCHANGED = AxisAlignedMap(1.0, 0.0, 1.0, 0.0)


def outlines(*objects, num_slots=4, to_resized=UNCHANGED):
    """Collate the segmentations of one image of 100 x 100 pixels as for the detector."""
    return collate_outlines([trace_outlines(objects, 100, 100, to_resized)], num_slots)


def fill(masks, boxes, gt_index, size=28):
    """Compute the targets of one image's regions."""
    boxes = torch.as_tensor(boxes, dtype=torch.float32)
    is_valid = torch.ones(1, len(boxes), dtype=torch.bool)
    return fill_polygons(masks, boxes[None], torch.as_tensor(gt_index)[None], is_valid, size=size)[0]


def star(seed, num_points=12):
    """Draw a simple polygon around a point, [points, 2]."""
    generator = np.random.default_rng(seed)
    angles = np.sort(generator.random(num_points)) * 2 * np.pi
    radii = generator.uniform(3, 45, num_points)
    center = generator.uniform(20, 80, 2)
    return center + radii[:, None] * np.stack((np.cos(angles), np.sin(angles)), axis=1)


def to_grid(points, box, size):
    """Scale points to cells of the grid over a box, as detectron2's `rasterize_polygons_within_box`."""
    box = np.asarray(box, np.float64)
    return (points - box[:2]) * size / np.maximum(box[2:] - box[:2], 0.1)


def centers(size):
    """Return the centers (x, y) of the cells of a grid, [size, size, 2]."""
    return np.stack(np.meshgrid(np.arange(size) + 0.5, np.arange(size) + 0.5), axis=-1)


def is_inside(points, positions):
    """Apply the even-odd rule, one edge at a time and in double precision."""
    x, y = positions[..., 0], positions[..., 1]
    inside = np.zeros(x.shape, bool)
    for (x1, y1), (x2, y2) in zip(points, np.roll(points, -1, axis=0), strict=True):
        if y1 != y2:
            inside ^= ((y1 <= y) != (y2 <= y)) & (x1 + (y - y1) / (y2 - y1) * (x2 - x1) <= x)
    return inside


def distance_to_outline(points, positions):
    """Compute the distance from each position to the nearest edge."""
    nearest = np.full(positions.shape[:-1], np.inf)
    for start, end in zip(points, np.roll(points, -1, axis=0), strict=True):
        along = end - start
        fraction = np.clip((positions - start) @ along / max(along @ along, 1e-12), 0, 1)
        nearest = np.minimum(nearest, np.linalg.norm(positions - start - fraction[..., None] * along, axis=-1))
    return nearest


coordinates = st.floats(-20, 120, width=32)


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 10_000), st.integers(3, 30), st.tuples(*[coordinates] * 4), st.sampled_from([1, 7, 14, 28]))
def test_agrees_with_the_even_odd_rule(seed, num_points, corners, size):
    points = star(seed, num_points)
    box = [min(corners[::2]), min(corners[1::2]), max(corners[::2]), max(corners[1::2])]
    filled = fill(outlines([points.ravel().tolist()]), [box], [0], size)[0].numpy()
    scaled = to_grid(points, box, size)
    is_clear = distance_to_outline(scaled, centers(size)) > 1e-3 * np.abs(scaled).max()
    assert np.array_equal(filled[is_clear], is_inside(scaled, centers(size))[is_clear])


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # pycocotools and NumPy 2
def test_differs_from_pycocotools_only_beside_the_outline():
    # It traces outlines in steps of a fifth of a cell, and assigns a cell to a side by the ends of the steps.
    num_cells = num_different = 0
    for seed in range(60):
        points = star(seed)
        generator = np.random.default_rng(seed)
        box = np.concatenate((points.min(axis=0), points.max(axis=0))) + generator.normal(0, 4, 4)
        scaled = to_grid(points, box, 28)
        run_lengths = pycocotools.mask.frPyObjects([scaled.ravel().tolist()], 28, 28)
        theirs = pycocotools.mask.decode(pycocotools.mask.merge(run_lengths))
        ours = fill(outlines([points.ravel().tolist()]), box[None], [0])[0].numpy()
        is_different = ours != theirs
        assert distance_to_outline(scaled, centers(28))[is_different].max(initial=0) < 0.5
        num_different += is_different.sum()
        num_cells += 28 * 28
    assert num_different < 0.02 * num_cells


@pytest.mark.parametrize("flip", [False, True])
def test_the_outline_of_a_bitmap_fills_its_pixels(flip):
    mask = np.random.default_rng(0).random((100, 100)) < 0.5  # holes, islands, and corners that touch
    rle = pycocotools.mask.encode(np.asfortranarray(mask.astype(np.uint8)))
    to_resized = AxisAlignedMap(-1.0, 100.0, 1.0, 0.0) if flip else UNCHANGED
    masks = outlines({"size": rle["size"], "counts": rle["counts"].decode()}, to_resized=to_resized)
    seen = mask[:, ::-1] if flip else mask
    filled = fill(masks, [[0, 0, 28, 28], [70, 60, 98, 88], [90, 95, 118, 123]], [0, 0, 0])
    assert np.array_equal(filled[0].numpy(), seen[:28, :28])
    assert np.array_equal(filled[1].numpy(), seen[60:88, 70:98])
    assert np.array_equal(filled[2].numpy(), np.pad(seen[95:, 90:], ((0, 23), (0, 18))))


def test_square_by_hand():
    filled = fill(outlines([[2, 2, 6, 2, 6, 4, 2, 4]]), [[0, 0, 8, 8]], [0], size=4)[0]
    # Rows of centers at 1, 3, 5 and 7: the one at 3 lies inside, where x = 3 and 5.
    assert filled.tolist() == [[0] * 4, [0, 1, 1, 0], [0] * 4, [0] * 4]


def test_areas_wound_twice_and_overlapping_parts_are_inside():
    angles = np.arange(5) * 4 * np.pi / 5
    pentagram = 50 + 40 * np.stack((np.cos(angles), np.sin(angles)), axis=1)
    squares = [[10, 10, 60, 10, 60, 60, 10, 60], [90, 90, 90, 40, 40, 40, 40, 90]]  # drawn in opposite directions
    filled = fill(outlines([pentagram.ravel().tolist()], squares), [[45, 45, 55, 55]] * 2, [0, 1], size=3)
    assert filled.min() == 1


def test_regions_without_a_target_are_zeros():
    masks = outlines([[2, 2, 60, 2, 60, 40, 2, 40]], None, num_slots=3)
    assert has_mask(masks).tolist() == [[True, False, False]]
    nan = float("nan")
    boxes = torch.tensor(
        [[[0.0, 0, 50, 50], [0, 0, 50, 50], [0, 0, 50, 50], [nan, 0, 50, 50], [-1e38, 0, 1e38, 9], [70, 70, 90, 90]]]
    )
    gt_index = torch.tensor([[0, 0, 1, 0, 0, 0]])
    is_valid = torch.tensor([[True, False, True, True, True, True]])
    filled = fill_polygons(masks, boxes, gt_index, is_valid)
    assert filled[0, 0].max() == 1
    assert filled[0, 1:].max() == 0


def test_a_region_without_area_counts_a_tenth_of_a_pixel():
    masks = outlines([[2, 2, 60, 2, 60, 40, 2, 40]])
    assert fill(masks, [[30, 30, 30, 30], [1.95, 30, 1.95, 30]], [0, 0], size=2).tolist() == [
        [[1, 1]] * 2,
        [[0, 1]] * 2,
    ]


@pytest.fixture
def arguments():
    images = [trace_outlines([[star(seed).ravel().tolist()]], 100, 100, UNCHANGED) for seed in range(3)]
    boxes = torch.tensor([0.0, 0.0, 60.0, 60.0]) + torch.rand(3, 5, 4) * 40
    return collate_outlines(images, 2), boxes, torch.zeros(3, 5, dtype=torch.int64), torch.rand(3, 5) < 0.8


def test_images_of_a_batch_do_not_mix_and_chunks_change_nothing(arguments, monkeypatch):
    masks, boxes, gt_index, is_valid = arguments
    single = [
        fill(Polygons(edges[None]), *regions) for edges, *regions in zip(masks.edges, boxes, gt_index, strict=True)
    ]
    expected = torch.stack(single) * is_valid[:, :, None, None]
    for crossings in (2**20, 1000, 1):
        monkeypatch.setattr(mask_targets, "_CROSSINGS_AT_ONCE", crossings)
        assert torch.equal(fill_polygons(*arguments), expected)


def test_no_regions(arguments):
    masks, *regions = arguments
    assert fill_polygons(masks, *(part[:, :0] for part in regions)).shape == (3, 0, 28, 28)


def test_compiles_into_one_graph(arguments):
    compiled = torch.compile(fill_polygons, fullgraph=True, backend="aot_eager")
    assert torch.equal(compiled(*arguments), fill_polygons(*arguments))


def test_depends_on_no_value(arguments):
    with FakeTensorMode() as mode:
        masks, *regions = arguments
        filled = fill_polygons(Polygons(mode.from_tensor(masks.edges)), *map(mode.from_tensor, regions), size=14)
    assert filled.shape == (3, 5, 14, 14)
    assert filled.dtype == torch.float32
