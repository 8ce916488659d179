"""One square in every way to write it, and its box by the COCO API."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pycocotools import mask as coco_mask

from lightning_rcnn.data.formats.coco.segmentations import box_of_segmentation, read_segmentation
from lightning_rcnn.masks.frames import swapped_run_length
from lightning_rcnn.masks.segmentation import checked_run_length

SQUARE = [[24.0, 16.0, 48.0, 16.0, 48.0, 32.0, 24.0, 32.0]]
POINTS = [[24, 16], [48, 16], [48, 32], [24, 32]]


@pytest.mark.parametrize(
    "written",
    [
        SQUARE,
        SQUARE[0],
        POINTS,
        [POINTS],
        [[POINTS]],
        [[[*map(str, point)] for point in POINTS]],
        [{"x": x, "y": y} for x, y in POINTS],
        [list(map(str, SQUARE[0]))],
        json.dumps(SQUARE),
        [str(SQUARE[0])],
        str(POINTS),
        [[], SQUARE[0]],
    ],
    ids=str,
)
def test_ways_to_write_a_polygon(written):
    assert read_segmentation(written) == SQUARE


@pytest.mark.parametrize("written", [None, [], [[]], {}, "", "[]", [[], []]])
def test_ways_to_write_nothing(written):
    assert read_segmentation(written) is None


def test_several_polygons_stay_several():
    assert read_segmentation([SQUARE[0], POINTS]) == SQUARE * 2


def rle_of(pixels):
    encoded = coco_mask.encode(np.asfortranarray(pixels, np.uint8))
    return {"size": list(encoded["size"]), "counts": encoded["counts"].decode()}


def runs_of(pixels):
    flat = np.concatenate([[0], np.asarray(pixels).ravel(order="F")])
    return np.diff([0, *np.flatnonzero(np.diff(flat)), np.size(pixels)]).tolist()


@given(st.integers(0, 20), st.integers(0, 15), st.integers(1, 9), st.integers(1, 8))
def test_ways_to_write_an_rle(x, y, width, height):
    pixels = np.zeros((24, 30), np.uint8)
    pixels[y : y + height, x : x + width] = 1
    rle, runs = rle_of(pixels), runs_of(pixels)
    written = [
        rle,
        [rle],
        json.dumps(rle),
        rle | {"counts": str(rle["counts"].encode())},
        rle | {"size": ["24", "30"]},
        rle | {"size": [24.0, 30.0]},
        str(rle | {"counts": rle["counts"].encode()}).replace("b'", "'"),
        rle | {"counts": runs},
        rle | {"counts": list(map(str, runs))},
        rle | {"counts": json.dumps(runs)},
    ]
    for value in written:
        read = read_segmentation(value)
        assert read["size"] == [24, 30]
        assert checked_run_length(read["counts"], 24, 30) == rle
        assert box_of_segmentation(read) == tuple(coco_mask.toBbox(coco_mask.encode(np.asfortranarray(pixels))))


def test_size_the_wrong_way_round_is_read_as_the_box_says():
    pixels = np.zeros((24, 30), np.uint8)
    pixels[2:20, 5:9] = 1
    rle, box = rle_of(pixels), (5, 2, 9, 20)
    assert swapped_run_length(rle | {"size": [30, 24]}, 24, 30, box) == rle
    assert swapped_run_length(rle_of(pixels.T), 24, 30, box) == rle, "row by row"
    assert swapped_run_length(rle | {"size": [30, 24]}, 24, 30, (20, 2, 29, 20)) is None
    assert swapped_run_length(rle | {"size": [30, 25]}, 24, 30, box) is None
    assert swapped_run_length({"size": [30, 24], "counts": "!"}, 24, 30, box) is None


def test_what_is_neither_stays_for_the_rules_of_masks():
    assert read_segmentation("word") == "word"
    assert read_segmentation([1, None]) == [1, None]
    assert box_of_segmentation([[1.0, 2.0]]) is None
    assert box_of_segmentation({"size": [4, 5], "counts": [3]}) is None
