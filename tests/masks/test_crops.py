"""Crops of masks, against masks of the whole image."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pycocotools import mask as coco_mask

from lightning_rcnn.masks.crops import UnreadableMaskError, crop_edges, cut_crop, decode_masks, is_inside, overlap
from lightning_rcnn.masks.run_length import Crop, decode_crop, encode_crop

HEIGHT, WIDTH = 24, 30


def random_crop(seed: int) -> Crop:
    rng = np.random.default_rng(seed)
    height, width = rng.integers(1, 12, 2).tolist()
    pixels = rng.random((height, width)) < rng.choice([0.05, 0.6])
    return Crop(pixels, int(rng.integers(0, HEIGHT - height)), int(rng.integers(0, WIDTH - width)))


def on_canvas(crop: Crop) -> np.ndarray:
    """The mask in an image with 20 pixels more on each side."""
    canvas = np.zeros((HEIGHT + 40, WIDTH + 40), np.bool_)
    left, top, right, bottom = crop_edges(crop)
    canvas[20 + top : 20 + bottom, 20 + left : 20 + right] = crop.pixels
    return canvas


@given(st.integers(0, 500), st.tuples(*[st.integers(-15, 40)] * 4), st.integers(0, 2))
def test_a_cut_crop_is_the_smallest_with_the_pixels_in_the_window(seed: int, edges: tuple[int, ...], margin: int):
    window = (min(edges[0], edges[2]), min(edges[1], edges[3]), max(edges[0], edges[2]), max(edges[1], edges[3]))
    crop = random_crop(seed)
    cut = cut_crop(crop, window, margin)
    expected = on_canvas(crop)
    x1, y1, x2, y2 = window
    inside = np.zeros_like(expected)
    inside[max(0, 20 + y1) : 20 + y2, max(0, 20 + x1) : 20 + x2] = True
    expected &= inside
    assert np.array_equal(on_canvas(cut), expected)
    if not expected.any():
        assert cut.pixels.shape == (0, 0)
        return
    ys, xs = np.nonzero(expected)
    left, top, right, bottom = (int(edge) - 20 for edge in (xs.min(), ys.min(), xs.max() + 1, ys.max() + 1))
    around = (left - margin, top - margin, right + margin, bottom + margin)
    assert crop_edges(cut) == overlap(around, window)
    assert not is_inside(cut, crop_edges(cut))
    assert is_inside(cut, (x1 - 1, y1 - 1, x2 + 1, y2 + 1))


def test_masks_of_all_forms_are_decoded_in_their_order():
    crop = random_crop(3)
    rle = encode_crop(*random_crop(4), HEIGHT, WIDTH)
    polygons = [[2.0, 3.0, 12.0, 3.0, 7.0, 15.0]]
    decoded = list(decode_masks([polygons, crop, rle], HEIGHT, WIDTH))
    whole = coco_mask.decode(coco_mask.merge(coco_mask.frPyObjects(polygons, HEIGHT, WIDTH)))
    assert np.array_equal(on_canvas(decoded[0])[20:-20, 20:-20], whole)
    assert decoded[1] is crop
    assert np.array_equal(on_canvas(decoded[2]), on_canvas(decode_crop(rle)))


@pytest.mark.parametrize("mask", [{"size": [HEIGHT, WIDTH], "counts": "1"}, {"size": [3, 4]}, [["a", "b"]], [[1.0]]])
def test_a_mask_that_is_none_is_one_kind_of_error(mask: Any):
    with pytest.raises(UnreadableMaskError):
        list(decode_masks([mask], HEIGHT, WIDTH))


def test_windows_that_do_not_meet_share_nothing():
    assert overlap((0, 0, 5, 5), (3, -2, 9, 4)) == (3, 0, 5, 4)
    x1, y1, x2, y2 = overlap((0, 0, 5, 5), (7, -9, 9, -4))
    assert (x2 - x1, y2 - y1) == (0, 0)
