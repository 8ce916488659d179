"""Against the COCO API, which fills the polygons."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from pycocotools import mask as coco_mask

from lightning_rcnn.masks.outlines import as_polygon, pixel_rings


@given(arrays(np.bool_, array_shapes(min_dims=2, max_dims=2, max_side=12)), *[st.integers(0, 5)] * 2)
def test_one_polygon_has_exactly_the_pixels_of_a_mask_with_parts_and_holes(mask, top, left):
    mask[0, 0] = True
    height, width = mask.shape[0] + 7, mask.shape[1] + 7
    polygon = as_polygon(mask, top, left)
    shares = [value / side * side for value, side in zip(polygon, [width, height] * len(polygon), strict=False)]
    (rle,) = coco_mask.frPyObjects([shares], height, width)
    filled = coco_mask.decode(rle).astype(bool)
    expected = np.zeros((height, width), bool)
    expected[top : top + mask.shape[0], left : left + mask.shape[1]] = mask
    assert np.array_equal(filled, expected)


def test_a_ring_has_an_outline_and_a_hole():
    mask = np.ones((5, 6), bool)
    mask[2, 2:4] = False
    rings = pixel_rings(mask, 10, 20)
    assert sorted(sorted(map(tuple, ring.tolist())) for ring in rings) == [
        [(20, 10), (20, 15), (26, 10), (26, 15)],
        [(22, 12), (22, 13), (24, 12), (24, 13)],
    ]
