"""The simulation of waiting ranks, against cases by hand and what is known of COCO."""

import numpy as np
import pytest

from lightning_rcnn.bench.coco_like import CocoLike, coco_like
from lightning_rcnn.bench.stragglers import waiting_with_plan, waiting_without_plan


@pytest.fixture(scope="module")
def coco() -> CocoLike:
    return coco_like()


def test_the_images_are_spread_like_cocos(coco):
    assert coco.shard_sizes.sum() == len(coco.heights) == 118_287
    with_objects = coco.objects[coco.objects > 0]
    assert len(with_objects) == pytest.approx(117_266, abs=100)
    assert with_objects.sum() == pytest.approx(860_001, rel=0.01)
    assert 4 <= np.median(coco.objects) <= 5
    assert 30 <= np.percentile(coco.objects, 99) <= 38
    assert coco.objects.max() == 93
    # COCO's statistics say that 90% are in between; 200 images have a standard error of .021.
    aspects = coco.heights / coco.widths
    assert ((aspects >= 0.6) & (aspects <= 1.5)).mean() == pytest.approx(0.9, abs=2 * 0.021)


def by_hand(objects: list[int]) -> CocoLike:
    """Images of one size, as many as one step has."""
    num = len(objects)
    return CocoLike(np.full(num, 480), np.full(num, 640), np.array(objects), np.array([num]))


def test_all_wait_for_the_rank_with_most_objects():
    """Two ranks with an image each: one costs 1 + 10 * .1 = 2, the other 1, so a quarter of their time is idle."""
    waiting = waiting_with_plan(by_hand([10, 0]), ranks=2, batch_size=1, balance_window=1, object_cost=0.1)
    assert waiting.share == pytest.approx(1 / 4)
    assert waiting.share_of_objects == pytest.approx(1 / 2)
    assert waiting.pixels == 800 * 1088
    assert waiting_without_plan(by_hand([10, 0]), 2, 1, 0.1).share == pytest.approx(1 / 4)


def test_ranks_that_pad_alone_wait_for_pixels_and_planned_ones_do_not(coco):
    assert waiting_without_plan(coco, 64, 2, 0.0).share > 0.2
    assert waiting_with_plan(coco, 64, 2, 1, 0.0).share == pytest.approx(0.0, abs=1e-12)


@pytest.mark.parametrize("batch_size", [1, 2, 4])
def test_of_64_ranks_balance_halves_the_waiting_and_reads_the_same_shards(coco, batch_size):
    now, evened = (waiting_with_plan(coco, 64, batch_size, window, 0.0005) for window in (1, 16))
    assert evened.share < 0.5 * now.share
    assert evened.share_of_objects < 0.5 * now.share_of_objects
    assert evened.shards <= now.shards + 1
    assert evened.pixels == now.pixels
