"""Tiles and their merging, against a detector that sees in each tile exactly the visible part of each object."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torchvision.ops import box_iou

from lightning_rcnn.functional.tile_merging import merge
from lightning_rcnn.functional.tiles import Tile, cut

HEIGHT, WIDTH = 1000, 1500


@given(
    height=st.integers(1, 500),
    width=st.integers(1, 500),
    side=st.integers(32, 300),
    overlap=st.sampled_from([0.0, 0.2, 0.5, 0.9]),
)
def test_tiles_cover_the_image_overlap_enough_and_have_one_size(height, width, side, overlap):
    tiles = cut(height, width, side, overlap)
    seen = np.zeros((height, width), dtype=bool)
    for tile in tiles:
        assert tile.height == min(side, height)
        assert tile.width == min(side, width)
        seen[tile.top : tile.top + tile.height, tile.left : tile.left + tile.width] = True
    assert seen.all()
    for starts in (sorted({tile.top for tile in tiles}), sorted({tile.left for tile in tiles})):
        assert (np.diff(starts) <= max(1, side - int(side * overlap))).all()


def disjoint_boxes(rng, count, longest):
    boxes = []
    while len(boxes) < count:
        width, height = rng.uniform(20, longest, 2)
        x, y = rng.uniform(0, WIDTH - width), rng.uniform(0, HEIGHT - height)
        box = np.array([x, y, x + width, y + height])
        if all(box[0] > b[2] or box[2] < b[0] or box[1] > b[3] or box[3] < b[1] for b in boxes):
            boxes.append(box)
    return np.array(boxes)


def seen_in_tiles(rng, objects, labels, tiles):
    """Boxes, labels and tiles of what each tile shows of the objects, a little off."""
    rows = []
    for number, tile in enumerate(tiles):
        frame = np.array([tile.left, tile.top, tile.left + tile.width, tile.top + tile.height], dtype=float)
        for box, label in zip(objects, labels, strict=True):
            part = np.concatenate([np.maximum(box[:2], frame[:2]), np.minimum(box[2:], frame[2:])])
            if (part[2:] > part[:2] + 1).all():
                part = np.clip(part + rng.normal(0, 0.2, 4), np.tile(frame[:2], 2), np.tile(frame[2:], 2))
                rows.append((*part, label, number))
    rows = np.array(rows)
    return rows[:, :4], rows[:, 4].astype(int), rows[:, 5].astype(int)


@pytest.mark.parametrize(("side", "overlap", "longest"), [(200, 0.5, 100), (200, 0.2, 300), (400, 0.3, 300)])
def test_every_object_is_found_once_also_if_it_is_larger_than_a_tile(side, overlap, longest):
    rng = np.random.default_rng(0)
    objects = disjoint_boxes(rng, 60, longest)
    labels = np.arange(60) % 3 + 1
    tiles = cut(HEIGHT, WIDTH, side, overlap)
    boxes, found_labels, tile_of = seen_in_tiles(rng, objects, labels, tiles)
    scores = rng.uniform(0.9, 1, len(boxes))
    merged = merge(boxes, scores, found_labels, found_labels, tile_of, tiles, HEIGHT, WIDTH)
    iou = box_iou(torch.from_numpy(objects), torch.tensor([one.box for one in merged]))
    assert (iou.amax(1) > 0.9).all()
    assert len(merged) == 60
    assert [merged[index].label for index in iou.argmax(1)] == labels.tolist()
    assert [one.score for one in merged] == sorted([one.score for one in merged], reverse=True)
    for one in merged:  # the parts are what the box is made of
        assert one.box[0] == boxes[list(one.parts), 0].min()
        assert one.box[3] == boxes[list(one.parts), 3].max()


LEFT, RIGHT = Tile(0, 0, 100, 100), Tile(0, 60, 100, 100)
WHOLE = (70.0, 20, 130, 80)  # beyond the left tile, whole in the right one


def merged(*rows, groups=None):
    """Merge detections (box, score, label, tile) of two tiles that share the columns 60 to 100."""
    boxes, scores, labels, tile_of = zip(*rows, strict=True)
    arguments = (np.array(boxes, dtype=float), np.array(scores), np.array(labels))
    return merge(*arguments, np.array(groups or labels), np.array(tile_of), [LEFT, RIGHT], 100, 160)


def test_an_object_is_what_the_tile_says_that_shows_it_whole():
    (found,) = merged(((70, 21, 100, 80), 0.99, 1, 0), (WHOLE, 0.8, 1, 1))
    assert found.box == WHOLE
    assert found.score == 0.8
    assert found.parts == (1,)


def test_what_only_a_cut_detection_shows_is_nothing_if_another_tile_shows_that_place_whole():
    assert merged(((70, 20, 100, 80), 0.9, 1, 0)) == []
    for kept in ((50, 20, 100, 80), (61, 20, 100, 80)):  # the border of the right tile cuts them, too
        assert [one.box for one in merged((kept, 0.9, 1, 0))] == [kept]


def test_a_glimpse_of_another_class_is_dropped_unless_it_is_much_surer():
    glimpse = (61, 20, 100, 79)  # not whole in the right tile either
    assert [one.label for one in merged((glimpse, 0.9, 2, 0), (WHOLE, 0.8, 1, 1))] == [1]
    assert [one.label for one in merged((glimpse, 0.9, 2, 0), (WHOLE, 0.2, 1, 1))] == [2, 1]


def test_across_classes_an_object_has_the_class_of_its_whole_or_else_its_surest_part():
    glimpse, left, right = (61, 20, 100, 79), (30.0, 20, 100, 80), (60.0, 20, 130, 80)
    for rows, label, box in (
        ([(glimpse, 0.9, 2, 0), (WHOLE, 0.2, 1, 1)], 1, WHOLE),
        ([(left, 0.9, 2, 0), (right, 0.8, 1, 1)], 2, (30, 20, 130, 80)),
    ):
        assert len(merged(*rows)) == 2
        (found,) = merged(*rows, groups=[0, 0])
        assert found.label == label
        assert found.box == box


def test_across_classes_of_two_in_one_place_the_better_stays():
    rows = [((10.0, 20, 50, 80), 0.6, 1, 0), ((11.0, 20, 50, 80), 0.7, 2, 0)]
    assert [one.label for one in merged(*rows)] == [2, 1]
    assert [one.label for one in merged(*rows, groups=[0, 0])] == [2]


def test_neighbors_in_one_tile_stay_two_objects():
    rows = [((62.0, 20, 80, 80), 0.9, 1, 0), ((80.0, 20, 98, 80), 0.8, 1, 0), ((62.0, 20, 98, 80), 0.7, 1, 1)]
    assert len([one for one in merged(*rows) if one.score > 0.75]) == 2


def test_nothing_is_merged_to_nothing():
    nothing = np.zeros(0)
    assert merge(np.zeros((0, 4)), nothing, *[nothing.astype(int)] * 3, [LEFT], 100, 100) == []
