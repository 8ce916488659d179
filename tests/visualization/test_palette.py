from itertools import combinations

import numpy as np

from lightning_rcnn.visualization.palette import class_colour, readable_on


def distance(first, second):
    return np.linalg.norm(np.subtract(first, second))


def test_neighbouring_labels_differ_and_the_colours_recur_after_24():
    colours = [class_colour(label) for label in range(1, 25)]
    assert len(set(colours)) == 24
    assert min(distance(*pair) for pair in combinations(colours[:8], 2)) > 50
    assert [class_colour(label + 24) for label in range(1, 25)] == colours


def test_text_contrasts_with_every_colour():
    for colour in map(class_colour, range(1, 25)):
        assert abs(np.mean(readable_on(colour)) - np.dot(colour, (0.2126, 0.7152, 0.0722))) > 100
