"""Every rule for segmentations, with the COCO API's own coding to judge the pixels by."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from pycocotools import mask as coco_mask

from lightning_rcnn.data.defects import Defect
from lightning_rcnn.data.pack import masks
from lightning_rcnn.masks import polygons

mask_arrays = arrays(np.uint8, array_shapes(min_dims=2, max_dims=2, max_side=40), elements=st.integers(0, 1))
TRIANGLE = [10.0, 10.0, 20.0, 10.0, 20.0, 25.5]
AROUND_TRIANGLE = (10.0, 10.0, 20.0, 25.5)
FIGURE_EIGHT = [5.0, 5.0, 25.0, 20.0, 25.0, 5.0, 5.0, 20.0]
INFINITE = float("inf")


def check(segmentation, width=64, height=48, box=None):
    return masks.check_segmentation(segmentation, width, height, box or (0.0, 0.0, float(width), float(height)))


def rle_of(mask):
    rle = coco_mask.encode(np.asfortranarray(mask, dtype=np.uint8))
    return {"size": list(rle["size"]), "counts": rle["counts"].decode()}


def window(top, bottom, left, right):
    mask = np.zeros((48, 64), np.uint8)
    mask[top:bottom, left:right] = 1
    return mask


def pixels_of(parts):
    return coco_mask.decode(coco_mask.merge(coco_mask.frPyObjects(parts, 48, 64)))


def runs_of(mask):
    """Lengths of the runs, column by column, beginning with zeros."""
    pixels = np.concatenate([[0], mask.ravel(order="F")])
    borders = np.flatnonzero(np.diff(pixels))
    return np.diff([0, *borders, mask.size]).tolist()


@given(mask_arrays)
def test_uncompressed_rle_is_compressed_without_change(mask):
    height, width = mask.shape
    kept, defects = check({"size": [height, width], "counts": runs_of(mask)}, width, height)
    if not mask.any():
        assert (kept, defects) == (None, [Defect.EMPTY_MASK])
        return
    assert set(defects) <= {Defect.THIN_MASK, Defect.MASK_BOX_MISMATCH}
    assert kept == rle_of(mask)


def test_sound_segmentations_are_kept_as_they_are():
    triangles = [TRIANGLE, [11.0, 20.0, 14.0, 20.0, 12.0, 25.5]]
    assert check(triangles, box=AROUND_TRIANGLE) == (triangles, [])
    rle = rle_of(np.tri(48, 64))
    assert check(rle) == (rle, [])


@pytest.mark.parametrize("nothing", [None, [], {}])
def test_no_segmentation_is_no_defect(nothing):
    assert check(nothing) == (None, [])


@pytest.mark.parametrize(
    "rle",
    [
        {"size": [7, 5], "counts": [30, 5]},
        {"size": [10, 14], "counts": [100, 40]},
        {"size": "5 x 7", "counts": [30, 5]},
        {"counts": [30, 5]},
    ],
    ids=["height and width swapped", "of a larger image", "text", "no size"],
)
def test_rle_of_another_size_is_dropped(rle):
    assert check(rle, 7, 5) == (None, [Defect.MASK_SIZE_MISMATCH])


@pytest.mark.parametrize(
    "segmentation",
    [
        {"size": [5, 7], "counts": "\x7f\x7f"},
        {"size": [5, 7], "counts": "Ω"},
        {"size": [5, 7], "counts": "Q"},
        {"size": [5, 7], "counts": ""},
        {"size": [5, 7], "counts": "d0d0K"},
        {"size": [5, 7], "counts": [30, 6]},
        {"size": [5, 7], "counts": [30, 4]},
        {"size": [5, 7], "counts": [40, -5]},
        {"size": [5, 7], "counts": [0, "x"]},
        {"size": [5, 7], "counts": [30.5, 4.5]},
        {"size": [5, 7], "counts": [INFINITE]},
        {"size": [5, 7], "counts": []},
        {"size": [5, 7], "counts": 35},
        {"size": [5, 7], "counts": None},
        {"size": [5, 7]},
        "polygon",
        7,
        [1.0, 1.0, 5.0, 1.0, 3.0, 4.0],
    ],
)
def test_a_mask_that_cannot_be_read_is_dropped(segmentation):
    assert check(segmentation, 7, 5) == (None, [Defect.BAD_MASK])


def test_runs_may_be_floats_that_are_whole():
    assert check({"size": [5, 7], "counts": [15.0, 20]}, 7, 5) == (check({"size": [5, 7], "counts": [15, 20]}, 7, 5))


@pytest.mark.parametrize(
    "empty",
    [
        rle_of(window(0, 0, 0, 0)),
        {"size": [48, 64], "counts": [48 * 64]},
        {"size": [48, 64], "counts": [100, 0, 48 * 64 - 100]},
        [[10.0, 10.0, 30.0, 10.1, 30.0, 10.0]],
        [[10.6, 5.0, 11.4, 5.0, 11.4, 40.0, 10.6, 40.0]],
    ],
    ids=["zeros", "zeros as a list", "an empty run", "a thin polygon", "a polygon between the centers of pixels"],
)
def test_a_mask_of_no_pixel_is_dropped(empty):
    assert check(empty) == (None, [Defect.EMPTY_MASK])


@pytest.mark.parametrize(
    "polygon",
    [[1.0, 1.0, 2.0, 2.0], [1.0] * 7, [float("nan")] * 6, [-INFINITE] * 6, [10**400] * 6, [None] * 6, 5.0, []],
)
def test_bad_polygon_is_dropped_and_the_good_one_stays(polygon):
    assert check([polygon, TRIANGLE], box=AROUND_TRIANGLE) == ([TRIANGLE], [Defect.BAD_POLYGON])
    if isinstance(polygon, list):
        assert check([polygon]) == (None, [Defect.BAD_POLYGON])


@pytest.mark.parametrize("shift", [(-30.0, 0.0), (64.0, 0.0), (0.0, -30.0), (0.0, 48.0), (1e8, 0.0)])
def test_polygon_outside_the_image_is_dropped(shift):
    moved = (np.array(TRIANGLE).reshape(-1, 2) + shift).ravel().tolist()
    assert check([moved, TRIANGLE], box=AROUND_TRIANGLE) == ([TRIANGLE], [Defect.POLYGON_OUTSIDE])
    assert check([moved]) == (None, [Defect.POLYGON_OUTSIDE])


def test_polygon_that_leaves_the_image_by_more_than_its_size_is_dropped():
    """The COCO API would walk along it for minutes, and need gigabytes for it."""
    assert check([[10.0, 10.0, 9e8, 10.0, 20.0, 25.5]]) == (None, [Defect.POLYGON_OUTSIDE])


def test_polygon_partly_outside_stays():
    polygon = [[-10.0, 5.0, 30.0, 5.0, 30.0, 60.0, -10.0, 60.0]]
    assert check(polygon) == (polygon, [Defect.POLYGON_PARTLY_OUTSIDE, Defect.MASK_BOX_MISMATCH])
    rounded = [[-0.01, 0.0, 64.01, 0.0, 64.01, 48.0, -0.01, 48.0]]
    assert check(rounded) == (rounded, [])


@given(st.lists(st.floats(-10, 74), min_size=6, max_size=16).map(lambda values: values[: len(values) // 2 * 2]))
def test_the_mask_of_a_polygon_is_judged_by_its_pixels(polygon):
    """A box around the very pixels raises no doubt, and one that misses them by a pixel drops the mask."""
    rows, columns = pixels_of([polygon]).nonzero()[:2]
    _, defects = check([polygon])
    if not len(rows):
        assert defects[-1] in (Defect.EMPTY_MASK, Defect.POLYGON_OUTSIDE)
        return
    edges = (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
    doubts = {Defect.MASK_BOX_MISMATCH, Defect.MASK_OUTSIDE_BOX}
    is_thin = min(edges[2] - edges[0], edges[3] - edges[1]) == 1
    _, defects = check([polygon], box=tuple(map(float, edges)))
    assert not doubts & set(defects)
    assert (Defect.THIN_MASK in defects) == is_thin
    beside = (float(edges[2]), 0.0, edges[2] + 5.0, 48.0)
    assert check([polygon], box=beside)[1][-1] is Defect.MASK_OUTSIDE_BOX


def test_polygon_that_crosses_itself_becomes_the_pixels_of_the_coco_api():
    """Of all its parts, as an object has polygons or RLE."""
    parts = [FIGURE_EIGHT, [40.0, 10.0, 60.0, 10.0, 50.0, 30.0]]
    kept, defects = check(parts, box=(5.0, 5.0, 60.0, 30.0))
    assert defects == [Defect.CROSSED_POLYGON]
    assert kept == rle_of(pixels_of(parts))


@pytest.mark.parametrize(("corners", "is_many"), [(2000, False), (2001, True), (100_000, True)])
def test_polygon_of_many_corners_becomes_pixels_without_a_look_at_its_crossings(corners, is_many):
    """With 100,000 corners, a look at all pairs would take minutes."""
    angles = np.linspace(0, 2 * np.pi, corners, endpoint=False)
    polygon = np.stack([32 + 20 * np.cos(angles), 24 + 20 * np.sin(angles)], axis=1).ravel().tolist()
    kept, defects = check([polygon], box=(12.0, 4.0, 52.0, 44.0))
    assert kept == (rle_of(pixels_of([polygon])) if is_many else [polygon])
    assert defects == ([Defect.MANY_CORNERS] if is_many else [])
    assert str(polygons.MAX_CORNERS) in Defect.MANY_CORNERS.rule


@pytest.mark.parametrize(
    ("mask", "defects"),
    [
        (window(5, 30, 7, 8), [Defect.THIN_MASK]),
        (window(7, 8, 5, 30), [Defect.THIN_MASK]),
        (window(7, 8, 7, 8), [Defect.THIN_MASK]),
        (window(5, 30, 7, 9), []),
    ],
)
def test_one_pixel_wide_masks_stay(mask, defects):
    x, y, width, height = coco_mask.toBbox(coco_mask.encode(np.asfortranarray(mask)))
    assert check(rle_of(mask), box=(x, y, x + width, y + height)) == (rle_of(mask), defects)


def test_mask_outside_of_its_box_is_dropped():
    rle = rle_of(window(5, 20, 10, 30))
    assert check(rle, box=(30.0, 5.0, 60.0, 20.0)) == (None, [Defect.MASK_OUTSIDE_BOX])
    assert check(rle, box=(29.0, 5.0, 60.0, 20.0)) == (rle, [Defect.MASK_BOX_MISMATCH])
    assert check(rle, box=(15.0, 5.0, 30.0, 20.0)) == (rle, [])
    assert check(rle, box=(21.0, 5.0, 30.0, 20.0)) == (rle, [Defect.MASK_BOX_MISMATCH])


def test_boxes_of_specks_may_be_a_pixel_off():
    rle = rle_of(window(10, 12, 20, 21))
    assert check(rle, box=(19.2, 9.3, 21.7, 12.6)) == (rle, [Defect.THIN_MASK])
    assert check(rle, box=(19.2, 9.3, 21.7, 13.1)) == (rle, [Defect.THIN_MASK, Defect.MASK_BOX_MISMATCH])
