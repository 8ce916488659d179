import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from lightning_rcnn.data.geometry import AxisAlignedMap
from lightning_rcnn.data.stored_proposals import decode_proposals, encode_proposals, map_proposals

WIDTH, HEIGHT = 40, 30  # of the resized frame
corners = st.floats(-20, 60, width=32)
proposal_lists = arrays(np.float32, st.tuples(st.integers(0, 12), st.just(5)), elements=corners).map(
    lambda array: np.concatenate([np.sort(array[:, [0, 2]]), np.sort(array[:, [1, 3]]), array[:, 4:]], 1)[
        :, [0, 2, 1, 3, 4]
    ]
)
AS_IT_IS = AxisAlignedMap(1.0, 0.0, 1.0, 0.0)
MIRRORED = AxisAlignedMap(-1.0, float(WIDTH), 1.0, 0.0)
UPSIDE_DOWN = AxisAlignedMap(1.0, 0.0, -1.0, float(HEIGHT))


def npy(array) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array, allow_pickle=True)
    return stream.getvalue()


@given(proposal_lists)
def test_what_is_stored_comes_back(proposals):
    data = encode_proposals(proposals)
    assert np.array_equal(decode_proposals(data), proposals)
    assert np.array_equal(np.load(io.BytesIO(data)), proposals)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "not an .npy array"),
        (b"not an array", "not an .npy array"),
        (npy(np.zeros((3, 5), np.float32))[:-1], "not an .npy array"),
        (npy(np.array([{}])), "not an .npy array"),
        (npy(np.zeros((3, 5))), r"float64 \[3, 5\], not float32 \[P, 5\]"),
        (npy(np.zeros((3, 4), np.float32)), r"float32 \[3, 4\], not"),
        (npy(np.zeros(5, np.float32)), r"float32 \[5\], not"),
        (npy(np.full((1, 5), np.nan, np.float32)), "not finite"),
        (npy(np.full((1, 5), np.inf, np.float32)), "not finite"),
    ],
)
def test_what_is_no_list_of_proposals_is_one_line(data, words):
    with pytest.raises(ValueError, match=words) as caught:
        decode_proposals(data)
    assert "lightning-rcnn propose" in str(caught.value)
    assert "\n" not in str(caught.value)


@given(proposal_lists, st.integers(0, 8))
def test_the_best_that_lie_in_the_image_are_kept_in_order(proposals, limit):
    placed = map_proposals(proposals, AS_IT_IS, (HEIGHT, WIDTH), limit)
    expected = []
    for x1, y1, x2, y2, score in proposals.tolist():
        left, right, top, bottom = max(x1, 0), min(x2, WIDTH), max(y1, 0), min(y2, HEIGHT)
        if right - left >= 0.0101 and bottom - top >= 0.0101:
            expected.append([left, top, right, bottom, score])
        elif right - left > 0.0099 and bottom - top > 0.0099:
            return  # too close to the bound to tell in another precision
    assert placed.tolist() == expected[:limit]


@given(proposal_lists)
@pytest.mark.parametrize(("flipped", "swaps"), [(MIRRORED, (2, 1, 0, 3)), (UPSIDE_DOWN, (0, 3, 2, 1))])
def test_flips_mirror_each_box_and_keep_the_order(flipped, swaps, proposals):
    whole = np.round(proposals)  # so that no edge is about as short as what is dropped
    plain = map_proposals(whole, AS_IT_IS, (HEIGHT, WIDTH), 100)
    mirrored = map_proposals(whole, flipped, (HEIGHT, WIDTH), 100)
    expected = plain.copy()
    for index, other in enumerate(swaps):
        if index != other:
            expected[:, index] = (WIDTH if index % 2 == 0 else HEIGHT) - plain[:, other]
    assert np.array_equal(mirrored, expected)


def test_the_resize_scales_boxes():
    placed = map_proposals(np.array([[1, 2, 3, 4, 0.5]], np.float32), AxisAlignedMap(2, 0, 3, 0), (90, 90), 10)
    assert placed.tolist() == [[2, 6, 6, 12, 0.5]]
