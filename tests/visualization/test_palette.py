from itertools import combinations

import numpy as np

from lightning_rcnn.visualization.palette import class_color, readable_on


def distance(first, second):
    return np.linalg.norm(np.subtract(first, second))


def test_consecutive_labels_differ_and_the_colors_recur_after_24():
    colors = [class_color(label) for label in range(1, 25)]
    assert len(set(colors)) == 24
    assert min(distance(*pair) for pair in combinations(colors[:8], 2)) > 50
    assert [class_color(label + 24) for label in range(1, 25)] == colors


def test_text_contrasts_with_every_color():
    for color in map(class_color, range(1, 25)):
        assert abs(np.mean(readable_on(color)) - np.dot(color, (0.2126, 0.7152, 0.0722))) > 100
