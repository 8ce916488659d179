import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lightning_rcnn.visualization.placement import MAX_OVERLAP, place_labels

IMAGE_SIZE = (300, 200)
SIZE = (60.0, 20.0)


def place(boxes):
    boxes = np.array(boxes, dtype=np.float64).reshape(-1, 4)
    return place_labels(boxes, np.tile(SIZE, (len(boxes), 1)), IMAGE_SIZE)


@pytest.mark.parametrize(
    ("box", "corner"),
    [
        ((100, 100, 180, 150), (100, 80)),  # above
        ((100, 5, 280, 180), (100, 0)),  # at the upper edge: pushed in, mostly into the box
        ((270, 100, 300, 150), (240, 80)),  # at the right edge: pushed in
    ],
)
def test_a_single_label_is_at_its_box_and_inside_the_image(box, corner):
    assert place([box]) == [corner]


def test_a_small_object_at_the_edge_is_not_hidden():
    [corner] = place([(100, 2, 110, 12)])
    assert corner is not None
    assert corner[1] >= 12 or corner[0] >= 110 or corner[0] + SIZE[0] <= 100


def test_a_label_goes_elsewhere_if_a_small_object_is_above():
    large, small = (100, 100, 180, 150), (110, 85, 125, 98)
    [corner, _] = place([large, small])
    assert corner != (100, 80)


def test_labels_without_room_are_left_out_and_the_first_ones_stay():
    corners = place([(100, 100, 110, 110)] * 30)
    assert corners[0] is not None
    assert corners.count(None) > 10


def test_a_label_larger_than_the_image_is_left_out():
    assert place_labels(np.array([[0.0, 0, 5, 5]]), np.array([[400.0, 20]]), IMAGE_SIZE) == [None]


coordinates = st.floats(-50, 400)


@given(st.lists(st.tuples(coordinates, coordinates, coordinates, coordinates), max_size=12))
def test_labels_stay_inside_and_apart(boxes):
    placed = [corner for corner in place(boxes) if corner is not None]
    for x, y in placed:
        assert 0 <= x <= IMAGE_SIZE[0] - SIZE[0]
        assert 0 <= y <= IMAGE_SIZE[1] - SIZE[1]
    for i, (x, y) in enumerate(placed):
        for other_x, other_y in placed[:i]:
            overlap = max(0, SIZE[0] - abs(x - other_x)) * max(0, SIZE[1] - abs(y - other_y))
            assert overlap <= MAX_OVERLAP * SIZE[0] * SIZE[1] + 1e-6
