"""Keypoints of generated scenes: those of shapes written down by hand, and properties that make them determined."""

import numpy as np
import pytest

from lightning_rcnn.data.pack.shape_keypoints import INSIDE, SKELETON, keypoints_of
from lightning_rcnn.data.pack.shapes import CLASS_NAMES, generate_scene

EVERYWHERE = np.ones((200, 200), dtype=bool)
ELLIPSE, RECTANGLE, TRIANGLE, STAR = range(1, 5)


@pytest.fixture(scope="module")
def objects():
    """Box, class, mask and keypoints of the objects of some scenes."""
    scenes = [generate_scene(3, index) for index in range(60)]
    return [each for scene in scenes for each in zip(*scene[1:], strict=True)]


def by_name(keypoints):
    return {name: (x, y) for name, (x, y, visibility) in zip(SKELETON.names, keypoints, strict=True) if visibility}


def test_corners_have_the_names_of_their_places_in_the_image():
    square = np.array([(40, 60), (80, 60), (80, 100), (40, 100)], dtype=float)
    inside = INSIDE / np.sqrt(2)
    near, far = 40 + inside, 80 - inside
    assert by_name(keypoints_of(RECTANGLE, square, EVERYWHERE)) == {
        "left": pytest.approx((near, near + 20)),
        "right": pytest.approx((far, near + 20)),
        "lower_left": pytest.approx((near, far + 20)),
        "lower_right": pytest.approx((far, far + 20)),
    }


@pytest.mark.parametrize("minor", [18.0, 29.9, 30.0])
@pytest.mark.parametrize("tilt", [-20, 0, 7, 20])
def test_an_ellipse_has_its_outermost_points_however_round_it_is(minor, tilt):
    """Against the extremes of ten thousand points, which for a circle no tilt moves."""

    def ellipse(number):
        angles = np.linspace(0, 2 * np.pi, number, endpoint=False)
        cos, sin = np.cos(np.deg2rad(tilt)), np.sin(np.deg2rad(tilt))
        return np.stack([30 * np.cos(angles), minor * np.sin(angles)], axis=1) @ [(cos, -sin), (sin, cos)] + 100

    dense = ellipse(10_000)
    extremes = {
        "top": dense[dense[:, 1].argmin()],
        "bottom": dense[dense[:, 1].argmax()],
        "left": dense[dense[:, 0].argmin()],
        "right": dense[dense[:, 0].argmax()],
    }
    found = by_name(keypoints_of(ELLIPSE, ellipse(48), EVERYWHERE))
    assert found.keys() == extremes.keys()
    for name, point in extremes.items():
        length = np.linalg.norm(point - 100)
        assert found[name] == pytest.approx(100 + (point - 100) * (1 - INSIDE / length), abs=0.05)
        if minor == 30.0:
            assert np.abs(np.subtract(found[name], 100)).min() < 0.05


def test_keypoints_lie_on_the_visible_part_and_all_others_are_not_labeled(objects):
    numbers = {ELLIPSE: 4, RECTANGLE: 4, TRIANGLE: 3, STAR: 5}
    labeled = dict.fromkeys(numbers, 0)
    for box, label, mask, keypoints in objects:
        assert not keypoints[keypoints[:, 2] == 0].any()
        seen = keypoints[keypoints[:, 2] > 0]
        assert (seen[:, 2] == 2).all()
        assert (seen[:, :2] > box[:2]).all()
        assert (seen[:, :2] < box[2:]).all()
        assert mask[tuple(seen[:, 1::-1].astype(int).T)].all()
        labeled[label] += len(seen) / numbers[label]
    for label in numbers:
        assert 0.75 < labeled[label] / sum(each[1] == label for each in objects) < 0.95, CLASS_NAMES[label - 1]


def test_the_order_of_keypoints_can_be_seen(objects):
    """Upper ones are above lower ones and left ones left of right ones; so a mirror exchanges the flip pairs."""
    for _, _, _, keypoints in objects:
        places = by_name(keypoints)
        for left, right in SKELETON.flip_pairs:
            pair = [SKELETON.names[left], SKELETON.names[right]]
            if places.keys() >= set(pair):
                assert places[pair[0]][0] < places[pair[1]][0]
        for upper, lower in (
            ("top", "bottom"),
            ("left", "lower_left"),
            ("right", "lower_right"),
            ("top", "lower_left"),
        ):
            if places.keys() >= {upper, lower}:
                assert places[upper][1] < places[lower][1]


def test_what_hides_a_corner_takes_its_keypoint():
    corners = [(-20.0, -15.0), (20.0, -15.0), (20.0, 15.0), (-20.0, 15.0)]
    mask = EVERYWHERE.copy()
    mask[:100, :100] = False
    names = by_name(keypoints_of(RECTANGLE, np.add(corners, 100.0), mask))
    assert set(names) == {"right", "lower_left", "lower_right"}
    beyond = by_name(keypoints_of(RECTANGLE, np.add(corners, (0.0, 100.0)), EVERYWHERE))
    assert set(beyond) == {"right", "lower_right"}
