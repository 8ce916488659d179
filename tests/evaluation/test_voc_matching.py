"""Objects A and B of 40 x 40 are 20 pixels apart; a box of that size that is s off has IoU (40 - s) / (40 + s)."""

import numpy as np
import pytest

from lightning_rcnn.evaluation.voc_matching import FALSE, TRUE, UNCOUNTED, judge

A, B = (0, 0, 40, 40), (20, 0, 60, 40)


def verdicts(found, objects, threshold=0.5):
    """Of detections (x1, y1, x2, y2, label, score), given objects (x1, y1, x2, y2, label, is_ignored)."""
    found_table = np.array(found, dtype=np.float64).reshape(-1, 6)
    table = np.array(objects, dtype=np.float64).reshape(-1, 6)
    labels, gt_labels, is_ignored = found_table[:, 4].astype(int), table[:, 4].astype(int), table[:, 5] > 0
    boxes, gt_boxes = np.ascontiguousarray(found_table[:, :4]), np.ascontiguousarray(table[:, :4])
    return judge(boxes, labels, found_table[:, 5], gt_boxes, gt_labels, is_ignored, threshold).tolist()


def test_the_best_of_an_object_is_true_whatever_the_order():
    found = [(*A, 1, 0.2), (2, 0, 42, 40, 1, 0.9), (*A, 1, 0.5)]
    assert verdicts(found, [(*A, 1, 0)]) == [FALSE, TRUE, FALSE]


def test_of_equal_scores_the_first_is_true():
    assert verdicts([(2, 0, 42, 40, 1, 0.5), (*A, 1, 0.5)], [(*A, 1, 0)]) == [TRUE, FALSE]


def test_only_the_closest_object_is_looked_at():
    """Shifted by 8, IoU with A is 32/48 and with B, 12 away, 28/52 > .5: but A is taken."""
    found = [(*A, 1, 0.9), (8, 0, 48, 40, 1, 0.8)]
    assert verdicts(found, [(*A, 1, 0), (*B, 1, 0)]) == [TRUE, FALSE]


def test_of_equally_close_objects_the_first_is_looked_at():
    """In the middle between A and B, IoU is 30/50 with either; the second such box finds A taken."""
    found = [(10, 0, 50, 40, 1, 0.9), (10, 0, 50, 40, 1, 0.8), (*B, 1, 0.7)]
    assert verdicts(found, [(*A, 1, 0), (*B, 1, 0)]) == [TRUE, FALSE, TRUE]


def test_exactly_the_threshold_is_enough():
    """Half of A has IoU .5 with it, one column less 19/40."""
    assert verdicts([(0, 0, 20, 40, 1, 0.9)], [(*A, 1, 0)]) == [TRUE]
    assert verdicts([(0, 0, 19, 40, 1, 0.9)], [(*A, 1, 0)]) == [FALSE]
    assert verdicts([(0, 0, 19, 40, 1, 0.9)], [(*A, 1, 0)], threshold=19 / 40) == [TRUE]


def test_objects_of_other_classes_are_not_there():
    """B is closer, but another kind of thing."""
    assert verdicts([(14, 0, 54, 40, 1, 0.9)], [(*A, 1, 0), (*B, 2, 0)], threshold=0.4) == [TRUE]
    assert verdicts([(*B, 1, 0.9)], [(*B, 2, 0)]) == [FALSE]


def test_detections_of_an_ignored_object_do_not_count():
    found = [(*A, 1, 0.9), (*A, 1, 0.8), (100, 0, 140, 40, 1, 0.7)]
    assert verdicts(found, [(*A, 1, 1)]) == [UNCOUNTED, UNCOUNTED, FALSE]


def test_an_ignored_object_that_is_closest_keeps_a_detection_from_the_other():
    """IoU 32/48 with the ignored A, 28/52 with B."""
    assert verdicts([(8, 0, 48, 40, 1, 0.9)], [(*A, 1, 1), (*B, 1, 0)]) == [UNCOUNTED]


@pytest.mark.parametrize("objects", [[], [(5, 5, 5, 5, 1, 0)]], ids=["no object", "an empty object"])
def test_nothing_to_overlap(objects):
    assert verdicts([(5, 5, 5, 5, 1, 0.9), (*A, 1, 0.5)], objects) == [FALSE, FALSE]
    assert verdicts([], objects) == []
