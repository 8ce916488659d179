import numpy as np
import pytest
import torch

from lightning_rcnn.data.collate import collate_targets, empty_sample
from lightning_rcnn.data.collate_masks import (
    MIN_BUFFER_BYTES,
    MIN_EDGES,
    collate_bitmaps,
    collate_masks,
    collate_outlines,
)
from lightning_rcnn.data.segmentations import ImageBitmaps, ImageOutlines


def bitmaps(*sizes, seed=0):
    """An image with crops of these (height, width), all bits random."""
    rng = np.random.default_rng(seed)
    num_bytes = sum(-(-height * width // 8) for height, width in sizes)
    boxes = rng.random((len(sizes), 4), np.float32)
    return ImageBitmaps(rng.integers(0, 256, num_bytes, np.uint8), np.array(sizes, np.int64).reshape(-1, 2), boxes)


def outlines(*counts, seed=0):
    edges = np.random.default_rng(seed).random((sum(counts), 4), np.float32)
    return ImageOutlines(edges, np.array(counts, np.int64))


def test_every_crop_is_found_where_its_first_byte_says():
    images = [bitmaps((3, 5), (0, 0), (9, 7)), None, bitmaps(), bitmaps((4, 4), (1, 1), seed=1)]
    batch = collate_bitmaps(images, 8)
    assert batch.first_byte.shape == (4, 8)
    assert batch.sizes.shape == (4, 8, 2)
    assert batch.boxes.shape == (4, 8, 4)
    found = []
    for slot, image in enumerate(images):
        sizes, boxes = ([], np.zeros((0, 4))) if image is None else (image.sizes.tolist(), image.boxes)
        assert batch.sizes[slot].tolist() == sizes + [[0, 0]] * (8 - len(sizes))
        assert np.array_equal(batch.boxes[slot, : len(sizes)], boxes)
        assert not batch.boxes[slot, len(sizes) :].any()
        for number in range(8):
            height, width = batch.sizes[slot, number].tolist()
            first = batch.first_byte[slot, number]
            assert height or first == 0
            found.append(batch.bits[first : first + -(-height * width // 8)])
    assert torch.cat(found).tolist() == [byte for image in images if image for byte in image.bits.tolist()]


@pytest.mark.parametrize(
    ("num_bytes", "expected"),
    [
        (0, MIN_BUFFER_BYTES),
        (MIN_BUFFER_BYTES, MIN_BUFFER_BYTES),
        (MIN_BUFFER_BYTES + 1, 2 * MIN_BUFFER_BYTES),
        (100_000, 131_072),
    ],
)
def test_bits_are_padded_with_zeros_to_a_size_that_recurs(num_bytes, expected):
    batch = collate_bitmaps([bitmaps((num_bytes, 8))] if num_bytes else [bitmaps()], 8)
    assert batch.bits.dtype == torch.uint8
    assert len(batch.bits) == expected
    assert not batch.bits[num_bytes:].any()


def test_edges_are_those_of_their_objects():
    images = [outlines(4, 0, 7), None, outlines(), outlines(3, seed=1)]
    edges = collate_outlines(images, 8).edges
    assert edges.shape == (4, 8, MIN_EDGES, 4)
    assert np.array_equal(edges[0, 0, :4], images[0].edges[:4])
    assert np.array_equal(edges[0, 2, :7], images[0].edges[4:])
    assert np.array_equal(edges[3, 0, :3], images[3].edges)
    assert torch.count_nonzero(edges) == 4 * (4 + 7 + 3)


@pytest.mark.parametrize(
    ("most", "expected"), [(0, MIN_EDGES), (MIN_EDGES, MIN_EDGES), (MIN_EDGES + 1, 2 * MIN_EDGES), (500, 512)]
)
def test_edges_are_padded_to_a_number_that_recurs(most, expected):
    assert collate_outlines([outlines(2, most)], 8).edges.shape[2] == expected


@pytest.mark.parametrize(
    ("form", "expected"), [("bitmaps", [[[0, 0]] * 8] * 2), ("polygons", [[[[0.0] * 4] * 32] * 8] * 2)]
)
def test_batches_of_empty_slots_have_masks_of_the_form(form, expected):
    masks = collate_targets([empty_sample(), empty_sample()], form).masks
    assert (masks.sizes if form == "bitmaps" else masks.edges).tolist() == expected
    assert collate_masks([None], 8, "none") is None
