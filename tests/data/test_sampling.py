"""Which images an epoch has: against the formulas of the papers, written out image by image."""

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lightning_rcnn.data.datamodule import DetectionDataModule
from lightning_rcnn.data.epoch_summary import epoch_summary
from lightning_rcnn.data.image_classes import ImageClasses, image_classes
from lightning_rcnn.data.index import Category, Shard, ShardIndex
from lightning_rcnn.data.plan import epoch_entries, plan_training_epoch
from lightning_rcnn.data.sampling import ClassBalanced, RepeatFactor, Sampling, WeightedClasses
from lightning_rcnn.errors import InputError

NAMES = ("cat", "dog", "eel")
LABELS = [[1], [1], [1, 2], [1], [], [1, 2, 3], [1], []]


def images(labels: list[list[int]] = LABELS, sources: tuple[int, ...] = (0,)) -> ImageClasses:
    """The images in shards of equal size, one a source."""
    size = len(labels) // len(sources)
    shards = [
        Shard("", "", first, [], list(range(100 + first, 100 + first + size)), [], [], [], labels[first : first + size])
        for first in range(0, len(labels), size)
    ]
    categories = [Category(label, name, label) for label, name in enumerate(NAMES, start=1)]
    index = ShardIndex("set", categories, False, shards, {})
    return image_classes(index, sources, [f"source {source}" for source in sorted(set(sources))])


def averages(sampling: Sampling, labels: list[list[int]] = LABELS, sources: tuple[int, ...] = (0,)) -> list[float]:
    return sampling.counts(images(labels, sources)).averages.tolist()


def test_by_default_an_epoch_has_each_image_once():
    counts = Sampling().counts(images())
    assert counts.size == 8
    assert counts.draw(0, 3).tolist() == [1] * 8


def repeat_factors(labels: list[list[int]], threshold: float) -> list[float]:
    """The formula of LVIS's appendix B.2, image by image."""
    with_objects = [each for each in labels if each]
    frequency = {label: sum(label in each for each in with_objects) / len(with_objects) for label in (1, 2, 3)}
    return [max([1.0, *((threshold / frequency[label]) ** 0.5 for label in each)]) for each in labels]


label_lists = st.lists(
    st.lists(st.integers(1, 3), max_size=4).map(lambda drawn: sorted(set(drawn))), min_size=1, max_size=40
).filter(any)


@settings(deadline=None, max_examples=200)
@given(labels=label_lists, threshold=st.floats(1e-4, 3))
def test_repeat_factors_are_those_of_lvis(labels, threshold):
    assert averages(RepeatFactor(threshold), labels) == pytest.approx(repeat_factors(labels, threshold))


def test_class_balanced_sampling_draws_each_class_equally_often():
    # 6 images of cat, 2 of dog, 1 of eel; an epoch of 8 draws each class 8/3 times.
    cat, dog, eel = 8 / 3 / 6, 8 / 3 / 2, 8 / 3
    expected = [cat, cat, cat + dog, cat, 0, cat + dog + eel, cat, 0]
    assert averages(ClassBalanced()) == pytest.approx(expected)
    assert ClassBalanced(epoch_size=80).counts(images()).draw(0, 0).sum() == 80
    without_eel = [each for each in LABELS if 3 not in each]
    assert sum(averages(ClassBalanced(), without_eel)) == pytest.approx(len(without_eel))


def test_an_image_has_the_largest_weight_of_its_classes():
    drawn = np.array(averages(WeightedClasses({"eel": 5.0, "cat": 0.5})))
    expected = np.array([0.5, 0.5, 1, 0.5, 1, 5, 0.5, 1])
    assert drawn == pytest.approx(expected * 8 / expected.sum())
    assert averages(WeightedClasses({"cat": 0.0, "dog": 0.0, "eel": 0.0}), [[1], []]) == [0, 2]


def test_images_without_objects_get_their_share():
    sampling = RepeatFactor(1.0, empty_share=0.75)
    expected = repeat_factors(LABELS, 1.0)
    rest = sum(factor for factor, labels in zip(expected, LABELS, strict=True) if labels)
    expected = [factor if labels else rest * 3 / 2 for factor, labels in zip(expected, LABELS, strict=True)]
    assert averages(sampling) == pytest.approx(expected)
    assert averages(Sampling(empty_share=0)) == [float(bool(labels)) for labels in LABELS]
    assert averages(ClassBalanced(empty_share=0.5))[4] == 4


def test_sources_are_mixed_by_weight_over_an_epoch_of_a_stated_length():
    sampling = Sampling(source_weights=(3, 1), epoch_size=1000)
    assert averages(sampling, sources=(0, 1)) == pytest.approx([750 / 4] * 4 + [250 / 4] * 4)
    balanced = RepeatFactor(2.0, source_weights=(1, 1), empty_share=0.1)
    labels = LABELS[4:] + LABELS[:4]  # [], [1, 2, 3], [1], [] and no empty ones
    labels[4] = []
    drawn, factors = averages(balanced, labels, sources=(0, 1)), repeat_factors(labels, 2.0)
    assert sum(drawn[:4]) == pytest.approx(sum(drawn[4:]))
    assert drawn[0] + drawn[3] == pytest.approx(0.1 * sum(drawn[:4]))
    assert drawn[4] == pytest.approx(0.1 * sum(drawn[4:]))
    assert drawn[2] / drawn[1] == pytest.approx(factors[2] / factors[1])


@settings(deadline=None, max_examples=200)
@given(labels=label_lists, sampling=st.sampled_from((Sampling(), ClassBalanced(), WeightedClasses({"cat": 0.3}))))
def test_an_epoch_is_as_long_as_the_data(labels, sampling):
    assert sampling.counts(images(labels)).size == len(labels)


@settings(deadline=None, max_examples=200)
@given(
    labels=label_lists,
    sampling=st.sampled_from((Sampling, RepeatFactor, ClassBalanced, WeightedClasses)),
    weights=st.lists(st.floats(0.01, 10), min_size=1, max_size=4),
    size=st.integers(1, 500),
    batch=st.integers(1, 4),
    world=st.integers(1, 5),
    epoch=st.integers(0, 10**6),
)
def test_plans_of_mixtures_have_exact_counts_on_any_number_of_ranks(
    labels, sampling, weights, size, batch, world, epoch
):
    labels = [each or [1] for each in labels] * len(weights)
    of_kind = {RepeatFactor: {"threshold": 0.9}, WeightedClasses: {"weights": {"eel": 7.5}}}.get(sampling, {})
    counts = sampling(**of_kind, source_weights=weights, epoch_size=size).counts(
        images(labels, tuple(range(len(weights))))
    )
    assert counts.size == size
    drawn = counts.draw(5, epoch)
    shard_size = len(labels) // len(weights)
    per_source = drawn.reshape(len(weights), shard_size).sum(axis=1)
    assert np.abs(per_source - size * np.array(weights) / sum(weights)).max() <= shard_size
    global_plan, of_ranks = (
        [
            plan_training_epoch(
                [shard_size] * len(weights),
                [np.full((size, 2), 60)],
                [np.array([[64, 64]])],
                global_batch_size=batch * world,
                seed=5,
                epoch=epoch,
                entries=epoch_entries(counts.draw(5, epoch)),
            ).of_rank(rank, ranks)
            for rank in range(ranks)
        ]
        for ranks in (1, world)
    )
    (whole,) = global_plan
    assert (np.concatenate([part.samples for part in of_ranks], axis=1) == whole.samples).all()
    assert len(whole) == size // (batch * world)
    planned = np.bincount(whole.samples.ravel(), minlength=len(labels))
    assert (planned <= drawn).all()
    assert drawn.sum() - planned.sum() == size % (batch * world)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: Sampling(empty_share=1.5), r"Sampling.empty_share: 1.5 is out of range; give 0 to 1"),
        (lambda: Sampling(epoch_size=0), r"Sampling.epoch_size: 0 is out of range"),
        (lambda: Sampling(source_weights=(1, -2)), r"Sampling.source_weights\[1\]: -2 is out of range"),
        (lambda: WeightedClasses({"cat": -1.0}), r"WeightedClasses.weights\['cat'\]: -1.0 is out of range"),
        (lambda: RepeatFactor(0.0), r"RepeatFactor.threshold: 0.0 is out of range; give above 0"),
        (lambda: Sampling(empty_share=1.0), "empty_share 1: leaves no image with objects"),
        (lambda: Sampling(source_weights=(1, 2)), "source_weights has 2 numbers, but data.train has 1 source"),
        (lambda: Sampling(source_weights=(0,)), r"source_weights \[0\]: all are 0; raise one"),
        (lambda: WeightedClasses({"cta": 2.0}), "data.train has no class 'cta'; did you mean cat?"),
        (lambda: Sampling(empty_share=1 - 1e-12), r"makes an epoch of 8e\+12|makes an epoch of 6e\+12 images"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(build: Any, message: str):
    with pytest.raises(InputError, match=message) as caught:
        build().counts(images())
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("sampling", "labels", "message"),
    [
        (WeightedClasses({"cat": 0.0}), [[1], [1]], r"WeightedClasses\(weights={'cat': 0.0}\) gives every .* weight 0"),
        (Sampling(empty_share=0.5), [[1], [1]], "empty_share 0.5: data.train has no image without objects"),
        (Sampling(empty_share=0.5, source_weights=(1, 1)), [[1], []], "source 0 has no image without objects"),
        (ClassBalanced(source_weights=(1, 1)), [[1], []], "source 1 has the weight 1, but no image"),
    ],
)
def test_what_the_images_cannot_give_is_refused_in_one_line(sampling: Sampling, labels: list[list[int]], message: str):
    with pytest.raises(InputError, match=message):
        sampling.counts(images(labels, (0, 1) if sampling.source_weights else (0,)))


def test_a_line_says_what_an_epoch_has():
    sampling = RepeatFactor(0.5)
    line = epoch_summary(sampling, sampling.counts(images()), images(), 4)
    assert line == (
        "An epoch has 8 images of 8 by RepeatFactor(threshold=0.5): 2 batches of 4; most often: class eel 1.73 times "
        "an image that shows it, image 105 1.73 times."
    )
    sampling = ClassBalanced(epoch_size=12)
    assert epoch_summary(sampling, sampling.counts(images()), images(), 4).endswith("; never: 2 images.")
    assert epoch_summary(Sampling(), Sampling().counts(images()), images(), 3) == (
        "An epoch has 8 images, each once: 2 batches of 3, which leaves out 2."
    )
    single = images([[1]])
    assert (
        epoch_summary(Sampling(), Sampling().counts(single), single, 1)
        == "An epoch has 1 image, each once: 1 batch of 1."
    )


def seen(module: DetectionDataModule) -> list[int]:
    module.setup("fit")
    return [image_id for batch in module.train_dataloader() for image_id in batch.image_ids.tolist()]


def test_sources_and_shards_of_a_data_module(uneven_set: Path, make_set, tmp_path: Path):
    """The second source has more shards; a shard that two sources name belongs to the first."""
    make_set(tmp_path / "more", (4, 2), first_id=5000)
    train = [str(uneven_set / "shard-000003.tar"), str(tmp_path / "more"), str(uneven_set)]
    module = DetectionDataModule(
        train, batch_size=10, num_workers=0, sampling={"source_weights": [1, 2, 0], "epoch_size": 90}
    )
    counts = Counter(seen(module))
    assert module.num_training_batches == 9
    assert set(counts) == {*range(1031, 1034), *range(5000, 5006)}
    assert set(counts.values()) == {10}
    module = DetectionDataModule(train, batch_size=10, num_workers=0, sampling={"source_weights": [1, 2]})
    with pytest.raises(InputError, match=r"data\.sampling\.source_weights has 2 numbers, but data\.train has 3"):
        module.setup("fit")
