"""Drawn keypoints: dots where they are, lines between those that are shown, on a canvas that may be larger."""

import numpy as np
import torch

from lightning_rcnn.visualization import Objects, ShownKeypoints, draw_objects

EDGES = ((0, 1), (1, 2))


def drawn(points, is_shown, size=(80, 80)):
    image = torch.full((3, *size), 128, dtype=torch.uint8)
    boxes, labels = torch.tensor([[10.0, 10, 70, 70]]), torch.tensor([1])
    keypoints = ShownKeypoints(torch.tensor([points]), torch.tensor([is_shown]), EDGES)
    plain = np.asarray(draw_objects(image, Objects(boxes, labels), ["a"])).astype(int)
    changed = np.asarray(draw_objects(image, Objects(boxes, labels, keypoints=keypoints), ["a"])).astype(int)
    return np.abs(changed - plain).sum(axis=2) > 0


def test_dots_and_lines_are_where_keypoints_are():
    """The image of 80 pixels is drawn eight times as large."""
    changed = drawn([[20.0, 60], [40, 60], [40, 30]], [True, True, False])
    assert changed[480, 160]
    assert changed[480, 320]
    assert changed[480, 240]
    assert not changed[240, 320]
    assert not changed[360, 320]
    rows, columns = np.nonzero(changed)
    assert rows.min() > 450
    assert rows.max() < 510
    assert columns.min() > 130
    assert columns.max() < 350


def test_what_is_not_finite_or_outside_is_not_drawn_and_does_not_fail():
    assert not drawn([[float("nan"), 60], [float("inf"), 3], [40, 30]], [True, True, False]).any()
    assert drawn([[20.0, 60], [400, 600], [40, 30]], [True, True, True]).any()
