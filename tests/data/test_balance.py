"""The exchange of images that evens out objects: the same images, shapes, shards and resumes, less waiting."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lightning_rcnn.data.balance import even_out
from lightning_rcnn.data.plan import Plan, plan_training_epoch

SHAPES = np.array([[64, 64], [64, 96], [96, 64], [96, 96]])


def random_sizes(num: int) -> np.ndarray:
    generator = np.random.default_rng(0)
    return np.array([(60, 60), (50, 90), (90, 50)])[generator.choice(3, num, p=[0.2, 0.5, 0.3])]


def random_objects(num: int) -> np.ndarray:
    """A long tail: half of the images have 4 or fewer, one in a hundred more than 40."""
    return np.random.default_rng(1).lognormal(np.log(4.3), 1.03, num).astype(np.int64)


def train(shard_sizes, batch: int, balance_window: int, window: int = 16384, num_scales: int = 1) -> Plan:
    num = sum(shard_sizes)
    return plan_training_epoch(
        shard_sizes,
        [random_sizes(num) * (scale + 1) for scale in range(num_scales)],
        [SHAPES * (scale + 1) for scale in range(num_scales)],
        global_batch_size=batch,
        seed=3,
        epoch=1,
        window=window,
        objects=random_objects(num),
        balance_window=balance_window,
    )


def idle_share(plan: Plan, ranks: int) -> float:
    """Share of all ranks' time in which they wait, if a step takes as long as its rank with most objects."""
    objects = random_objects(int(plan.samples.max()) + 1)[plan.samples].reshape(len(plan), ranks, -1).sum(axis=2)
    return 1 - objects.mean(axis=1).sum() / objects.max(axis=1).sum()


def test_images_of_a_pool_are_sorted_into_batches_by_hand():
    """Two partitions of two slots, two batches in the pool; the third batch has another shape, the last one both."""
    batches = np.arange(16).reshape(4, 4)
    objects = np.array([9, 1, 0, 5, 3, 7, 6, 2, 1, 2, 3, 4, 0, 0, 9, 9])
    group = np.array([0] * 8 + [1] * 4 + [0, 1, 0, 1])
    keys = np.array([0, 1, 2, 3], dtype=np.uint64)
    evened = even_out(batches, group, objects, num_partitions=2, window=8, keys=keys)
    # Of partition 0, with the objects 9 1 3 7, the images 1 and 4 have fewest; of partition 1, with 0 5 6 2, 2 and 7.
    assert evened.tolist() == [[1, 4, 2, 7], [5, 0, 3, 6], [8, 9, 10, 11], [12, 13, 14, 15]]
    swapped = even_out(batches, group, objects, num_partitions=2, window=8, keys=keys[::-1].copy())
    assert swapped[:2].tolist() == evened[1::-1].tolist()


@settings(deadline=None, max_examples=100)
@given(
    shard_sizes=st.lists(st.integers(1, 40), min_size=1, max_size=60),
    batch=st.integers(1, 24),
    balance_window=st.integers(2, 20),
    window=st.integers(1, 3000),
)
def test_an_epoch_has_the_same_images_and_padded_shapes(shard_sizes, batch, balance_window, window):
    before = train(shard_sizes, batch, 1, window)
    after = train(shard_sizes, batch, balance_window, window)
    assert sorted(after.samples.ravel().tolist()) == sorted(before.samples.ravel().tolist())
    for plan in (before, after):
        assert plan.samples.shape == (sum(shard_sizes) // batch, batch)
    assert (after.shapes == before.shapes).all()
    if batch % 2 == 0:  # any number of ranks takes its part of the same batches
        halves = [after.of_rank(rank, 2).samples for rank in range(2)]
        assert (np.concatenate(halves, axis=1) == after.samples).all()


def test_ranks_wait_less_than_half_as_long():
    """Of 64 ranks with two images each; to permute the images of a batch would gain a twentieth."""
    now, evened = (idle_share(train([500] * 60, 128, window), ranks=64) for window in (1, 16))
    assert now > 0.6
    assert evened < 0.5 * now


def test_a_rank_reads_the_shards_that_it_read():
    """128 shards, 16 partitions: half of the ranks exchange images with themselves only."""
    before, after = (train([100] * 128, 16, window, window=1600) for window in (1, 8))
    for half in (slice(0, 8), slice(8, 16)):
        assert Counter(after.samples[:, half].ravel().tolist()) == Counter(before.samples[:, half].ravel().tolist())


def test_batches_come_in_no_order_of_objects():
    plan = train([500] * 60, 128, 16)
    objects = random_objects(30000)[plan.samples].sum(axis=1)
    assert abs(np.corrcoef(objects, np.arange(len(objects)))[0, 1]) < 0.2
    assert abs(np.corrcoef(objects[:-1], objects[1:])[0, 1]) < 0.2


def test_crowded_images_meet_at_another_time_in_each_epoch():
    places = set()
    for epoch in range(8):
        plan = plan_training_epoch(
            [100],
            [np.full((100, 2), 60)],
            [SHAPES],
            global_batch_size=10,
            seed=0,
            epoch=epoch,
            objects=random_objects(100),
            balance_window=10,
        )
        places.add(int(random_objects(100)[plan.samples].sum(axis=1).argmax()))
    assert len(places) > 3


@pytest.mark.parametrize("num_scales", [1, 3])
def test_multi_scale_batches_have_shapes_of_their_rule(num_scales):
    plan = train([100] * 10, 4, 8, num_scales=num_scales)
    for scale in range(num_scales):
        of_scale = {tuple(shape) for shape in plan.shapes[plan.scales == scale]}
        assert of_scale <= {tuple(shape) for shape in SHAPES * (scale + 1)}
