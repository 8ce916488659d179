import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lightning_rcnn.masks.polygons import clip_polygon, has_area, reach, touches_itself

SQUARE = [2.0, 3.0, 12.0, 3.0, 12.0, 13.0, 2.0, 13.0]
points = st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), min_size=3, max_size=8)


@pytest.mark.parametrize(
    ("polygon", "expected"),
    [
        ([0, 0, 10, 10, 10, 0, 0, 10], True),  # figure eight
        ([0, 0, 10, 0, 10, 10, 5, 0, 0, 10], True),  # a corner on another edge
        ([5, 0, 8, 9, 0, 3, 10, 3, 2, 9], True),  # pentagram
        ([*SQUARE, *SQUARE], True),  # twice around: nothing by the even-odd rule
        ([*SQUARE, 5, 6, 7, 6, 6, 9, 5, 6, 2, 13], True),  # a hole, cut open
        ([0, 0, 9, 0, 9, 9, 5, 5, 5, 2, 4, 2, 4, 6, 0, 9], False),  # a bay
        (SQUARE, False),
        (SQUARE[::-1], False),
        ([*SQUARE, *SQUARE[:2]], False),  # closed by its first point
        ([*SQUARE[:2], *SQUARE], False),  # a point twice
        ([0, 0, 5, 0, 10, 0, 10, 5], False),  # a corner on a straight edge
        ([0, 0, 4, 0, 4, 3], False),
    ],
)
def test_polygons_that_touch_themselves(polygon, expected):
    assert touches_itself(polygon) == expected


@given(points, st.integers(0, 7), st.booleans())
def test_the_answer_depends_neither_on_the_first_corner_nor_on_the_direction(corners, first, backwards):
    other = np.roll(corners, first, axis=0)[:: -1 if backwards else 1]
    assert touches_itself(np.ravel(corners).tolist()) == touches_itself(other.ravel().tolist())


def share_a_point(a, b, c, d):
    """Whether two closed segments of whole coordinates meet, by exact orientations (Cormen et al., section 33.1)."""

    def turn(p, q, r):
        area = (q[0] - p[0]) * (r[1] - p[1]) - (q[1] - p[1]) * (r[0] - p[0])
        return (area > 0) - (area < 0)

    def lies_on(p, q, r):
        return turn(p, q, r) == 0 and all(min(p[i], q[i]) <= r[i] <= max(p[i], q[i]) for i in (0, 1))

    if turn(a, b, c) * turn(a, b, d) < 0 and turn(c, d, a) * turn(c, d, b) < 0:
        return True
    return lies_on(a, b, c) or lies_on(a, b, d) or lies_on(c, d, a) or lies_on(c, d, b)


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), min_size=3, max_size=12))
def test_all_pairs_of_edges_are_compared(corners):
    distinct = [corner for i, corner in enumerate(corners) if corner != corners[i - 1]]
    edges = [(corner, distinct[(i + 1) % len(distinct)]) for i, corner in enumerate(distinct)]
    num = len(edges)
    pairs = [(i, j) for i in range(num) for j in range(i + 2, num) if (i, j) != (0, num - 1)]
    expected = any(share_a_point(*edges[i], *edges[j]) for i, j in pairs)
    assert touches_itself(np.ravel(corners).tolist()) == expected


@given(points)
def test_what_does_not_touch_itself_winds_once_around_its_inside(corners):
    """Winding numbers by the angle that is covered, at points of a grid that no edge of whole coordinates meets."""
    if touches_itself(np.ravel(corners).tolist()):
        return
    grid = np.stack(np.meshgrid(np.arange(7) + 0.4871, np.arange(7) + 0.5329), axis=-1)[..., None, :]
    begin = np.array(corners) - grid
    end = np.roll(corners, -1, axis=0) - grid
    cross = begin[..., 0] * end[..., 1] - begin[..., 1] * end[..., 0]
    winding = np.round(np.arctan2(cross, (begin * end).sum(axis=-1)).sum(axis=-1) / (2 * np.pi))
    assert len(set(np.unique(winding)) | {0}) <= 2
    assert np.abs(winding).max() <= 1


def test_polygons_of_many_corners():
    angles = np.linspace(0, 2 * np.pi, 1500, endpoint=False)
    circle = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    assert not touches_itself(circle.ravel().tolist())
    circle[[300, 1200]] = circle[[1200, 300]]
    assert touches_itself(circle.ravel().tolist())


@pytest.mark.parametrize(
    ("shift", "expected"),
    [
        ((0, 0), -2),
        ((-3, 0), 1),
        ((0, -5), 2),
        ((60, 0), 8),
        ((0, 40), 5),
        ((-12, 0), np.inf),
        ((0, -13), np.inf),
        ((62, 0), np.inf),
        ((0, 45), np.inf),
    ],
)
def test_how_far_a_polygon_reaches_out_of_the_image(shift, expected):
    moved = (np.array(SQUARE).reshape(-1, 2) + shift).ravel().tolist()
    assert reach(moved, width=64, height=48) == expected


def test_a_polygon_larger_than_twice_the_image_is_taken_to_be_outside():
    assert reach([-64.0, 0.0, 64.0, 0.0, 64.0, 20.0], 64, 48) == 64
    assert reach([-65.0, 0.0, 64.0, 0.0, 64.0, 20.0], 64, 48) == np.inf


@given(st.integers(0, 1000))
def test_a_clipped_polygon_winds_as_often_around_every_point_of_the_rectangle(seed: int):
    rng = np.random.default_rng(seed)
    points = rng.uniform(-5, 15, (rng.integers(3, 9), 2))  # may touch itself
    if seed % 2:
        points = points.round()  # corners and edges on the sides of the rectangle
    low, high = np.array([0.0, 1.0]), np.array([10.0, 8.0])
    clipped = clip_polygon(points, low, high)
    assert (clipped >= low).all()
    assert (clipped <= high).all()
    grid = np.stack(np.meshgrid(np.arange(10) + 0.4931, np.arange(1, 8) + 0.5077), axis=-1)
    assert np.array_equal(winding(clipped, grid), winding(points, grid))


def winding(points: np.ndarray, grid: np.ndarray) -> np.ndarray:
    """How often a polygon [k, 2] turns around each of the points [..., 2]."""
    begin = points[:, None, None] - grid
    end = np.roll(points, -1, axis=0)[:, None, None] - grid
    cross = begin[..., 0] * end[..., 1] - begin[..., 1] * end[..., 0]
    return np.round(np.arctan2(cross, (begin * end).sum(axis=-1)).sum(axis=0) / (2 * np.pi))


def test_a_polygon_outside_leaves_nothing_and_one_inside_is_unchanged():
    low, high = np.zeros(2), np.full(2, 10.0)
    triangle = np.array([[1.0, 1.0], [9.0, 1.0], [5.0, 10.0]])
    assert np.array_equal(clip_polygon(triangle, low, high), triangle)
    assert clip_polygon(triangle + 20, low, high).shape == (0, 2)
    assert has_area(triangle)
    assert not has_area(triangle[:, [0, 0]])
