import numpy as np
import pytest
from pycocotools import mask as coco_mask

from lightning_rcnn.data.pack.masks import check_segmentation
from lightning_rcnn.masks.segmentation import as_run_length, usable_run_length

TRIANGLE = [10.0, 10.0, 20.0, 10.0, 20.0, 25.5]
OUTSIDE = [-30.0, 1.0, -20.0, 1.0, -20.0, 20.0]
FIGURE_EIGHT = [5.0, 5.0, 25.0, 20.0, 25.0, 5.0, 5.0, 20.0]


@pytest.mark.parametrize(
    "segmentation",
    [
        [TRIANGLE],
        [OUTSIDE, TRIANGLE, [1.0, 2.0]],
        [FIGURE_EIGHT],
        [OUTSIDE],
        [[3.0, 3.0, 8.0, 3.1, 8.0, 3.0]],
        TRIANGLE,
        {"size": [48, 64], "counts": [100, 500, 48 * 64 - 600]},
        {"size": [48, 64], "counts": [48 * 64]},
        {"size": [48, 64], "counts": [100, 500]},
        {"size": [64, 48], "counts": [100, 500, 48 * 64 - 600]},
        {"size": [48, 64], "counts": "!!"},
        {"size": [48, 64]},
        {},
        [],
        None,
        "polygon",
        7,
    ],
)
def test_what_is_usable_is_what_packing_keeps(segmentation):
    kept, _ = check_segmentation(segmentation, 64, 48, (0.0, 0.0, 64.0, 48.0))
    assert usable_run_length(segmentation, 48, 64) == (kept and as_run_length(kept, 48, 64))


def test_usable_pixels_are_those_of_the_coco_api():
    [rle] = coco_mask.frPyObjects([TRIANGLE], 48, 64)
    assert np.array_equal(coco_mask.decode(usable_run_length([OUTSIDE, TRIANGLE], 48, 64)), coco_mask.decode(rle))
