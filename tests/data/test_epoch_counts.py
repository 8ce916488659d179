"""How often an epoch has each sample: averages in, whole numbers out."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from lightning_rcnn.data.epoch_counts import EpochCounts, epoch_counts

averages = st.lists(st.floats(0, 6, allow_subnormal=False), min_size=1, max_size=60).map(np.array)


@settings(deadline=None, max_examples=200)
@given(averages=averages, seed=st.integers(0, 2**40), epoch=st.integers(0, 10**6))
def test_each_average_is_rounded_up_or_down_and_all_epochs_are_as_long(averages, seed, epoch):
    rounding = epoch_counts(averages)
    counts = rounding.draw(seed, epoch)
    assert np.abs(rounding.averages - averages).max() < 1e-7
    assert ((counts == np.floor(rounding.averages)) | (counts == np.ceil(rounding.averages))).all()
    assert counts.sum() == rounding.size == rounding.draw(seed, epoch + 1).sum()
    assert (counts == rounding.draw(seed, epoch)).all()


@settings(deadline=None, max_examples=200)
@given(averages=averages.filter(lambda values: values.max() > 1e-3), size=st.integers(1, 2**30))
def test_an_epoch_of_a_stated_size_has_exactly_that_size(averages, size):
    rounding = epoch_counts(averages, size)
    scaled = averages * size / averages.sum()
    assert rounding.size == rounding.draw(0, 0).sum() == size
    assert np.abs(rounding.draw(0, 0) - scaled).max() <= 1 + 1e-6 * size
    assert (rounding.draw(0, 0)[averages == 0] == 0).all()


def test_over_the_epochs_each_sample_occurs_as_often_as_its_average():
    averages = np.array([0.05, 0.5, 1, 1.25, 2, 3.2, 0])  # which add up to 8: nothing is rounded off
    epochs = 4000
    counts = np.stack([epoch_counts(averages).draw(7, epoch) for epoch in range(epochs)])
    fractions = averages % 1
    deviation = (fractions * (1 - fractions) / epochs) ** 0.5
    assert (np.abs(counts.mean(axis=0) - averages) <= 4.5 * deviation).all()


def test_any_two_samples_may_be_rounded_up_together():
    """Systematic sampling in a fixed order would never select two neighbors."""
    up = np.stack([epoch_counts(np.full(8, 1.25)).draw(0, epoch) == 2 for epoch in range(2000)])
    together = up.T.astype(int) @ up
    pairs = together[~np.eye(8, dtype=bool)]
    assert pairs.min() > 0.6 * pairs.mean()


def test_the_draw_is_the_one_it_was_in_earlier_versions():
    """Guards `PLAN_VERSION`: whoever changes the draw on purpose raises it and writes down the new figures."""
    drawn = EpochCounts(np.array([1, 3, 5, 7, 11], dtype=np.int64) << 30).draw(seed=1, epoch=2)
    assert drawn.tolist() == [1, 0, 1, 2, 2]
