"""Against the COCO API's own coding of the whole image."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from pycocotools import mask as coco_mask

from lightning_rcnn.masks.run_length import decode_crop, decode_crops, decode_runs, edges_of_mask, encode_crop, resize

masks = arrays(np.bool_, array_shapes(min_dims=2, max_dims=2, max_side=40))
frames = st.tuples(*[st.integers(0, 9)] * 4)


def by_the_coco_api(mask):
    rle = coco_mask.encode(np.asfortranarray(mask, dtype=np.uint8))
    return {"size": list(rle["size"]), "counts": rle["counts"].decode("ascii")}


def by_hand(mask):
    """Lengths of the runs, column by column, beginning with zeros."""
    pixels = np.concatenate([[False], mask.ravel(order="F")])
    return np.diff([0, *np.flatnonzero(np.diff(pixels)), mask.size]).tolist()


def assert_crop(mask):
    crop, top, left = decode_crop(by_the_coco_api(mask))
    pasted = np.zeros_like(mask)
    pasted[top : top + crop.shape[0], left : left + crop.shape[1]] = crop
    assert crop.dtype == np.bool_
    assert np.array_equal(pasted, mask)
    if crop.size:
        assert crop[0].any()
        assert crop[-1].any()
        assert crop[:, 0].any()
        assert crop[:, -1].any()


@given(masks, frames)
def test_a_pasted_crop_is_coded_as_by_the_coco_api(crop, frame):
    """Also where the crop ends with the image on some sides, so that runs go on in the next column."""
    image = np.pad(crop, (frame[:2], frame[2:]))
    assert encode_crop(crop, frame[0], frame[2], *image.shape) == by_the_coco_api(image)


@given(masks, frames)
def test_decoding_gives_the_tight_crop(crop, frame):
    assert_crop(np.pad(crop, (frame[:2], frame[2:])))


@pytest.mark.parametrize("value", [False, True])
def test_full_and_empty_images(value):
    image = np.full((30, 20), value)
    assert encode_crop(image, 0, 0, 30, 20) == by_the_coco_api(image)
    assert_crop(image)


def test_masks_of_one_call_do_not_touch_each_other():
    """Also where their pixels fill words of 64 bits, or end one before or behind."""
    rng = np.random.default_rng(0)
    sizes = [(63, 1), (64, 1), (65, 1), (8, 16), (127, 1), (1, 129), (64, 64), (3, 500)]
    images = [image for size in sizes for image in (np.ones(size, bool), rng.random(size) < 0.5, np.zeros(size, bool))]
    for image, (crop, top, left) in zip(images, decode_crops(list(map(by_the_coco_api, images))), strict=True):
        pasted = np.zeros_like(image)
        pasted[top : top + crop.shape[0], left : left + crop.shape[1]] = crop
        assert np.array_equal(pasted, image)


def test_a_crop_without_pixels():
    assert encode_crop(np.zeros((0, 0), bool), 3, 4, 30, 20) == by_the_coco_api(np.zeros((30, 20), bool))
    crop, top, left = decode_crop(by_the_coco_api(np.zeros((30, 20), bool)))
    assert (crop.shape, top, left) == ((0, 0), 0, 0)


def test_large_numbers_and_empty_runs():
    height, width = 30_000, 40_000  # an image that nobody could lay out here
    rle = encode_crop(np.ones((2, 3), bool), 29_998, 39_000, height, width)
    first = 39_000 * height + 29_998
    assert decode_runs(rle["counts"]).tolist() == [first, 2, 29_998, 2, 29_998, 2, 1_199_999_999 - first - 60_001]
    crop, top, left = decode_crop(rle)
    assert (crop.shape, crop.all(), top, left) == ((2, 3), True, 29_998, 39_000)
    runs = [4, 0, 0, 3, 0, 2, 5, 0, 6, 0]
    counts = coco_mask.frPyObjects({"size": [5, 4], "counts": runs}, 5, 4)["counts"].decode("ascii")
    mask = coco_mask.decode({"size": [5, 4], "counts": counts})
    crop, top, left = decode_crop({"size": [5, 4], "counts": counts})
    assert np.array_equal(crop, mask[top : top + crop.shape[0], left : left + crop.shape[1]])
    assert crop.sum() == mask.sum() == 5


@given(masks, frames)
def test_the_edges_are_those_of_the_coco_api(crop, frame):
    image = np.pad(crop, (frame[:2], frame[2:]))
    x, y, width, height = map(int, coco_mask.toBbox(by_the_coco_api(image)))
    assert edges_of_mask(by_the_coco_api(image)) == ((x, y, x + width, y + height) if image.any() else None)


def test_the_edges_pass_over_empty_runs():
    runs = [7, 0, 0, 3, 0, 2, 8, 0]  # pixels 7 to 11, read down columns of five
    counts = coco_mask.frPyObjects({"size": [5, 4], "counts": runs}, 5, 4)["counts"].decode("ascii")
    assert edges_of_mask({"size": [5, 4], "counts": counts}) == (1, 0, 3, 5)


@given(masks)
def test_runs_are_those_of_the_coco_api(mask):
    assert decode_runs(by_the_coco_api(mask)["counts"]).tolist() == by_hand(mask)


@pytest.mark.parametrize(
    ("counts", "reason"),
    [("\x7f\x7f", "character"), ("0 ", "character"), ("0Ω", "latin"), ("0Q", "within"), ("o" * 20 + "0", "larger")],
)
def test_text_that_is_no_rle_is_refused(counts, reason):
    with pytest.raises(ValueError, match=reason):
        decode_runs(counts)


@given(masks, st.integers(1, 60), st.integers(1, 60))
def test_resized_mask_takes_the_pixel_in_which_each_center_lies(mask, height, width):
    rows = ((np.arange(height) + 0.5) * mask.shape[0] / height).astype(int)
    columns = ((np.arange(width) + 0.5) * mask.shape[1] / width).astype(int)
    expected = mask[rows][:, columns]
    assert resize(by_the_coco_api(mask), height, width) == by_the_coco_api(expected)
