"""Runs and polygons against the COCO API's own coding."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from pycocotools import mask as coco_mask

from lightning_rcnn.data.pack.defects import Defect
from lightning_rcnn.data.pack.masks import check_segmentation

masks = arrays(np.uint8, array_shapes(min_dims=2, max_dims=2, max_side=40), elements=st.integers(0, 1))
TRIANGLE = [10.0, 10.0, 20.0, 10.0, 20.0, 25.5]


def runs_of(mask):
    """Lengths of the runs, column by column, beginning with zeros."""
    pixels = np.concatenate([[0], mask.ravel(order="F")])
    borders = np.flatnonzero(np.diff(pixels))
    return np.diff([0, *borders, mask.size]).tolist()


@given(masks)
def test_uncompressed_rle_is_compressed_without_change(mask):
    height, width = mask.shape
    kept, defects = check_segmentation({"size": [height, width], "counts": runs_of(mask)}, width, height)
    if not mask.any():
        assert (kept, defects) == (None, [Defect.BAD_MASK])
        return
    assert defects == []
    assert np.array_equal(coco_mask.decode({**kept, "counts": kept["counts"].encode()}), mask)


def test_compressed_rle_is_kept_as_it_is():
    rle = coco_mask.encode(np.asfortranarray(np.eye(5, 7, dtype=np.uint8)))
    segmentation = {"size": [5, 7], "counts": rle["counts"].decode()}
    assert check_segmentation(segmentation, 7, 5) == (segmentation, [])


@pytest.mark.parametrize("nothing", [None, [], {}])
def test_no_segmentation_is_no_defect(nothing):
    assert check_segmentation(nothing, 7, 5) == (None, [])


@pytest.mark.parametrize(
    "segmentation",
    [
        {"size": [5, 7], "counts": [30, 6]},
        {"size": [7, 5], "counts": [30, 5]},
        {"size": [10, 14], "counts": [100, 40]},
        {"counts": [30, 5]},
    ],
    ids=["one pixel too many", "height and width swapped", "of a larger image", "no size"],
)
def test_rle_of_another_size_is_dropped(segmentation):
    assert check_segmentation(segmentation, 7, 5) == (None, [Defect.MASK_SIZE_MISMATCH])


@pytest.mark.parametrize(
    "segmentation",
    [
        {"size": [5, 7], "counts": "\x7f\x7f"},
        {"size": [5, 7], "counts": "Q"},
        {"size": [5, 7], "counts": [40, -5]},
        {"size": [5, 7], "counts": [0, "x"]},
        {"size": [5, 7], "counts": None},
        {"size": [5, 7]},
        {"size": [5, 7], "counts": [35]},
        "polygon",
        7,
    ],
)
def test_unreadable_or_empty_mask_is_dropped(segmentation):
    assert check_segmentation(segmentation, 7, 5) == (None, [Defect.BAD_MASK])


@pytest.mark.parametrize("polygon", [[1.0, 1.0, 2.0, 2.0], [1.0] * 7, [float("nan")] * 6, [None] * 6, 5.0, []])
def test_bad_polygon_is_dropped_and_the_good_one_stays(polygon):
    assert check_segmentation([polygon, TRIANGLE], 64, 48) == ([TRIANGLE], [Defect.BAD_POLYGON])
    assert check_segmentation([polygon], 64, 48) == (None, [Defect.BAD_POLYGON])
