import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lightning_rcnn.data.defects import Defect
from lightning_rcnn.data.pack.boxes import MIN_SIDE, check_box

WIDTH, HEIGHT = 100, 60
coordinate = st.one_of(
    st.integers(-20, 130).map(float), st.floats(-1e4, 1e4), st.sampled_from([math.nan, math.inf, -math.inf])
)
edges = st.tuples(coordinate, coordinate, coordinate, coordinate)


@pytest.mark.parametrize(
    ("box", "kept", "defect"),
    [
        ((10, 10, 20, 30), (10, 10, 20, 30), None),
        ((0, 0, WIDTH, HEIGHT), (0, 0, WIDTH, HEIGHT), None),
        ((math.nan, 0, 5, 5), None, Defect.NON_FINITE_BOX),
        ((0, 0, math.inf, 5), None, Defect.NON_FINITE_BOX),
        ((20, 10, 10, 30), None, Defect.INVERTED_BOX),
        ((10, 30, 20, 10), None, Defect.INVERTED_BOX),
        ((10, 10, 10, 30), None, Defect.ZERO_AREA_BOX),
        ((10, 10, 20, 10), None, Defect.ZERO_AREA_BOX),
        ((WIDTH, 0, WIDTH + 9, 9), None, Defect.BOX_OUTSIDE),
        ((0, -9, 9, 0), None, Defect.BOX_OUTSIDE),
        ((-5, -5, 5, 5), (0, 0, 5, 5), Defect.BOX_PARTLY_OUTSIDE),
        ((90, 50, 101, 61), (90, 50, 100, 60), Defect.BOX_PARTLY_OUTSIDE),
        ((90, 50, WIDTH + 0.01, HEIGHT), (90, 50, 100, 60), None),
    ],
)
def test_each_rule(box, kept, defect):
    assert check_box(box, WIDTH, HEIGHT) == (kept, defect)


@given(edges)
def test_what_is_kept_lies_inside_has_area_and_passes_again(box):
    kept, defect = check_box(box, WIDTH, HEIGHT)
    if kept is None:
        assert defect is not None
        return
    x1, y1, x2, y2 = kept
    assert 0 <= x1 < x2 <= WIDTH
    assert 0 <= y1 < y2 <= HEIGHT
    assert min(x2 - x1, y2 - y1) >= MIN_SIDE
    assert check_box(kept, WIDTH, HEIGHT) == (kept, None)


@given(edges)
def test_a_sound_box_inside_the_image_is_never_touched(box):
    x1, y1, x2, y2 = box
    if x1 >= 0 and y1 >= 0 and x1 + MIN_SIDE < x2 <= WIDTH and y1 + MIN_SIDE < y2 <= HEIGHT:
        assert check_box(box, WIDTH, HEIGHT) == (box, None)
