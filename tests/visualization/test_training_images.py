"""Training batches for people: anchors that match, statistics and drawing, against a case computed by hand.

One feature map of stride 16 with one anchor of 32 x 32 pixels a position: its centers are the multiples of 16.
"""

import math

import numpy as np
import pytest
import torch

from lightning_rcnn.backbones.base import Backbone, map_sizes
from lightning_rcnn.rpn.anchors import AnchorSettings
from lightning_rcnn.rpn.branch import RPNSettings
from lightning_rcnn.rpn.matches import match_anchors
from lightning_rcnn.structures import NO_IMAGE, PADDING_LABEL, Batch, ImageRecord, Targets
from lightning_rcnn.visualization.training_images import draw_training_image, objects_of
from lightning_rcnn.visualization.training_statistics import add_up, image_statistics

BOXES = [
    [0.0, 0, 32, 32],  # the anchor around (16, 16)
    [0.0, 0, 32, 28],  # the same anchor is its best (IoU 0.875), but learns the first object
    [16.0, 16, 64, 48],  # two anchors, around (32, 32) and (48, 32), tie at an IoU of 2/3
    [0.0, 32, 32, 64],  # a crowd on an anchor
]
ANCHORS = [[0.0, 0, 32, 32], [16.0, 16, 48, 48], [32.0, 16, 64, 48]]
NAMES = ["cat", "dog"]


class Strided(Backbone):
    """One map of stride 16."""

    strides = (16,)
    out_channels = 1

    def __init__(self):
        super().__init__()

    def forward(self, images):
        return [images[:, :1, ::16, ::16]]


class Lazy(Strided):
    """A backbone that the meta device cannot run, as it reads a value."""

    def forward(self, images):
        assert images.sum().item() == 0
        return super().forward(images)


@pytest.fixture
def rpn():
    return RPNSettings(anchors=AnchorSettings(sizes=(32,), ratios=(1.0,))).build(Strided())


@pytest.fixture
def batch():
    """An image of 64 x 64 in 64 x 96, one without objects, and an empty slot; the second place of an object is free."""
    boxes, labels = torch.zeros(3, 5, 4), torch.full((3, 5), PADDING_LABEL)
    is_crowd = torch.zeros(3, 5, dtype=torch.bool)
    places = torch.tensor([0, 2, 3, 4])
    boxes[0, places], labels[0, places] = torch.tensor(BOXES), torch.tensor([1, 2, 2, 1])
    is_crowd[0, 4] = True
    records = tuple(ImageRecord(number, f"{number}.jpg", 64, 64) for number in (1, 2, NO_IMAGE))
    return Batch(
        torch.full((3, 3, 64, 96), 200, dtype=torch.uint8),
        torch.tensor([[64, 64], [64, 64], [0, 0]]),
        torch.tensor([1, 2, NO_IMAGE]),
        Targets(boxes, labels, is_crowd),
        records,
    )


@pytest.fixture
def matches(rpn, batch):
    return match_anchors(rpn, [(4, 6)], batch.inputs, batch.targets)


def test_positive_anchors_by_hand(matches):
    first, *others = matches
    assert first.boxes.tolist() == ANCHORS
    assert first.gt_index.tolist() == [0, 3, 3]
    assert first.iou.tolist() == pytest.approx([1, 2 / 3, 2 / 3])
    assert [len(match.boxes) for match in others] == [0, 0]


def test_statistics_by_hand(batch, matches):
    first, empty = (
        image_statistics(annotated, objects_of(batch, slot), matches[slot], 0.7) for slot, annotated in ((0, 6), (1, 0))
    )
    assert (first.images, first.without_objects, first.annotated, first.lost) == (1, 0, 6, 2)
    assert sorted(first.edges) == [28, 32, 32]
    assert (first.anchors.positives, first.anchors.without, first.anchors.below) == (3, 1, 1)
    assert (empty.images, empty.without_objects, empty.edges, empty.anchors.positives) == (1, 1, (), 0)
    assert math.isnan(empty.edge_below(0.5))
    assert empty.lost_share == 0

    total = add_up([first, empty, first])
    assert (total.images, total.without_objects, total.annotated, total.lost) == (3, 1, 12, 4)
    assert total.lost_share == pytest.approx(1 / 3)
    assert total.edge_below(0.5) == 32
    assert (total.anchors.positives, total.anchors.without, total.anchors.below) == (6, 2, 2)


def test_without_anchors_there_are_no_counts_of_them(batch):
    statistics = image_statistics(3, objects_of(batch, 0), None, 0.0)
    assert statistics.lost == 0  # an image with more objects than annotations lost none
    assert statistics.anchors is None
    assert add_up([statistics]).anchors is None


def at(image, x, y):
    """The pixel at a point of the padded image, which is enlarged to 640 x 427."""
    return image.getpixel((round(x * 640 / 96), round(y * 640 / 96)))


def test_padding_is_hatched_and_anchors_are_broken_lines(batch, matches):
    batch = Batch(
        batch.images.float() + 0.4,
        *[getattr(batch, name) for name in ("image_sizes", "image_ids", "targets", "records")],
    )
    shown = objects_of(batch, 0)
    plain = draw_training_image(batch, 0, shown, None, NAMES)
    image = draw_training_image(batch, 0, shown, matches[0], NAMES)
    assert image.size == (640, 427)
    padding = np.asarray(image)[:, 440:]
    assert len(np.unique(padding.reshape(-1, 3), axis=0)) >= 2
    assert padding.max() < 100
    assert at(image, 40, 60) == (200, 200, 200)

    # Both differ only on the lines of anchors and on the ring around the object that no anchor learns.
    changed = np.argwhere((np.asarray(plain) != np.asarray(image)).any(axis=2))[:, ::-1] * 96 / 640
    ring_center = np.array([16, 14])
    is_ring = np.hypot(*((changed - ring_center) / (18, 16)).T) > 0.8
    is_line = np.zeros(len(changed), bool)
    for left, top, right, bottom in ANCHORS:
        x, y = changed.T
        inside = (x > left - 0.6) & (x < right + 0.6) & (y > top - 0.6) & (y < bottom + 0.6)
        is_line |= inside & (np.abs(changed[:, :1] - (left, right)).min(1) < 0.6)
        is_line |= inside & (np.abs(changed[:, 1:] - (top, bottom)).min(1) < 0.6)
    assert is_line.sum() > 300
    assert (is_line | is_ring).all()
    assert at(image, 32, 40) != at(plain, 32, 40)
    alarm = (np.asarray(image) == (255, 32, 64)).all(axis=2)
    assert alarm.sum() > 200


def test_sizes_of_maps_with_and_without_the_meta_device():
    assert map_sizes(Strided(), 64, 100) == [(4, 7)]
    assert map_sizes(Lazy(), 64, 100) == [(4, 7)]
