"""Batches are planned by the sizes that images have after their transforms."""

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from lightning_rcnn.data.cache import ShardCache
from lightning_rcnn.data.datamodule import DetectionDataModule
from lightning_rcnn.data.dataset import BatchRequest, DetectionDataset
from lightning_rcnn.data.epoch_counts import epoch_counts
from lightning_rcnn.data.fetch import FetchPolicy
from lightning_rcnn.data.loader import PlannedLoader
from lightning_rcnn.data.padded_set import PaddedSet, pad_set
from lightning_rcnn.data.padding import shrunk_to_fit
from lightning_rcnn.data.reader import ShardReader
from lightning_rcnn.data.resize import ResizeRule
from lightning_rcnn.data.shards import read_shards
from lightning_rcnn.data.transforms import (
    Affine,
    Colors,
    HorizontalFlip,
    QuarterTurns,
    Random,
    RandomIoUCrop,
    RandomSizeCrop,
    ScaleJitter,
    ZoomOut,
)
from lightning_rcnn.data.transforms.planned import planned_sizes, planned_transforms
from lightning_rcnn.data.transforms.view import displayed_size
from lightning_rcnn.errors import InputError
from lightning_rcnn.structures import Batch
from tests.data.geometric_scenes import scene
from tests.data.rendering import render_alone

PLANNED = [HorizontalFlip(), QuarterTurns(), RandomSizeCrop(10, 50, p=0.7), Colors(brightness=0.1), ZoomOut(p=0.5)]
EVERYTHING = [*PLANNED, RandomIoUCrop(), Affine((-10, 10)), RandomSizeCrop(12, 30, p=1.0)]
RULES = [ResizeRule(32, 64), ResizeRule(64, 96)]


def test_an_image_has_the_size_that_was_planned():
    rng = np.random.default_rng(0)
    sizes = rng.integers(30, 90, (40, 2))
    planned, other = (
        planned_sizes(planned_transforms(PLANNED), *sizes.T, np.arange(40), seed=3, epoch=epoch) for epoch in (2, 1)
    )
    for number, (height, width) in enumerate(sizes.tolist()):
        sample = scene(number, "none", height, width)
        for position, transform in enumerate(PLANNED):
            sample = transform(sample, Random(3, 2, number, position))
        assert displayed_size(sample) == tuple(planned[number])
    assert len(np.unique(planned - sizes, axis=0)) > 20
    assert not np.array_equal(planned, other)


def padded(folder: Path, transforms: list[Any], shapes: list[list[int]] | None = None) -> PaddedSet:
    return pad_set(read_shards(str(folder)), RULES, shapes, transforms)


def loaded(
    folder: Path,
    transforms: list[Any],
    rank: int = 0,
    world: int = 1,
    num_workers: int = 0,
    batch_size: int = 4,
    repeats: float = 1.0,
) -> list[Batch]:
    data = padded(folder, transforms)
    counts = epoch_counts(np.full(len(data), repeats))
    reader = ShardReader(data.shard_set, ShardCache(None, 1e9, FetchPolicy(1.0, 1)))
    samples = DetectionDataset(reader, RULES, "training", transforms, mask_form="bitmaps")
    plan = partial(data.plan_training, seed=0, batch_size=batch_size, rank=rank, world=world, window=100, counts=counts)
    num_batches = counts.size // (batch_size * world)
    memory = samples.layout(batch_size, data.largest_shape).num_bytes
    loader = PlannedLoader(
        samples, plan, num_batches, rank=rank, world=world, image_bytes=memory, num_workers=num_workers
    )
    loader.sampler.set_epoch(1)
    return list(loader)


@pytest.fixture(scope="module")
def masked_set(make_set, tmp_path_factory) -> Path:
    return make_set(tmp_path_factory.mktemp("masked") / "set", masks=True)


@pytest.mark.parametrize("repeats", [1.0, 2.5])
def test_batches_hold_the_planned_sizes_in_few_shapes_without_shrinking(masked_set: Path, repeats: float):
    """What exceeded its batch would have been shrunk, so its shorter edge would be that of no rule."""
    batches = loaded(masked_set, PLANNED, repeats=repeats)
    assert len(batches) == int(repeats * 43) // 4
    shapes = {tuple(batch.images.shape[-2:]) for batch in batches}
    known = {tuple(shape) for rule_shapes in padded(masked_set, PLANNED).shapes for shape in rule_shapes.tolist()}
    assert len(shapes) > 1
    assert shapes <= known
    for size in torch.cat([batch.image_sizes for batch in batches]).tolist():
        assert min(size) in (32, 64) or max(size) in (64, 96)
    assert sum(len(set(map(tuple, batch.image_sizes.tolist()))) > 1 for batch in batches) > 5  # crops differ


@pytest.mark.parametrize("last", [[], [ScaleJitter((48, 64), (0.5, 2.0))]])
def test_ranks_and_workers_do_not_change_what_comes(masked_set: Path, last: list[Any]):
    transforms = [*EVERYTHING, *last]
    whole = loaded(masked_set, transforms, num_workers=2)
    parts = [loaded(masked_set, transforms, rank, world=2, num_workers=1, batch_size=2) for rank in (0, 1)]
    assert len(whole) == 10
    for batch, *halves in zip(whole, *parts, strict=True):
        assert [record.problem for record in batch.records] == [""] * 4
        assert torch.equal(batch.images, torch.cat([half.images for half in halves]))
        assert torch.equal(batch.image_sizes, torch.cat([half.image_sizes for half in halves]))
        assert torch.equal(batch.targets.boxes, torch.cat([half.targets.boxes for half in halves]))
        for field in ("sizes", "boxes"):
            masks = [getattr(each.targets.masks, field) for each in (batch, *halves)]
            assert torch.equal(masks[0], torch.cat(masks[1:]))
    if last:
        assert {tuple(batch.images.shape[-2:]) for batch in whole} == {(64, 64)}


def test_what_given_shapes_do_not_hold_is_shrunk_as_by_render():
    rng = np.random.default_rng(0)
    sizes = rng.integers(1, 300, (60, 2))
    fitted = shrunk_to_fit(sizes, np.array([96, 160]))
    for size, expected in zip(sizes.tolist(), fitted.tolist(), strict=True):
        image = scene(0, "none", *size) if min(size) > 30 else None
        if image is not None:
            rendered, _ = render_alone(image, ResizeRule(min(size), max(size)), (96, 160))
            assert list(rendered.shape[-2:]) == expected
    assert (fitted <= [96, 160]).all()


def test_given_shapes_may_be_too_small_for_what_is_drawn(masked_set: Path):
    data = padded(masked_set, [RandomSizeCrop(5, 60, p=1.0)], [[96, 96], [64, 160]])
    plan = data.plan_training(0, seed=0, batch_size=4, rank=0, world=1, window=100)
    assert len(plan) == 10
    assert {tuple(shape) for shape in plan.shapes.tolist()} <= {(96, 96), (64, 160), (96, 160)}


def test_the_identity_of_a_plan_follows_the_transforms_that_decide_sizes(masked_set: Path):
    ordinary = padded(masked_set, [])
    assert padded(masked_set, [HorizontalFlip(), Affine(), RandomIoUCrop()]).padding == ordinary.padding
    lists = [
        [RandomSizeCrop(10, 30)],
        [RandomSizeCrop(10, 31)],
        [HorizontalFlip(), RandomSizeCrop(10, 30)],
        [QuarterTurns()],
        [ScaleJitter((64, 64))],
        [ScaleJitter((64, 64), (0.5, 1.0))],
    ]
    assert len({ordinary.padding, *(padded(masked_set, transforms).padding for transforms in lists)}) == 7
    same = [padded(masked_set, [RandomSizeCrop(10, 30)]).padding for _ in range(2)]
    assert same[0] == same[1]


def test_the_plan_of_an_ordinary_list_is_that_without_transforms(masked_set: Path):
    first, second = (
        padded(masked_set, transforms).plan_training(1, seed=1, batch_size=2, rank=0, world=1, window=100)
        for transforms in ([], [HorizontalFlip(), Affine()])
    )
    for ours, expected in zip(vars(second).values(), vars(first).values(), strict=True):
        assert np.array_equal(ours, expected)


def test_shapes_beside_a_scale_jitter_are_refused_in_one_line(masked_set: Path):
    module = DetectionDataModule(
        str(masked_set), batch_size=2, num_workers=0, train_transforms=[ScaleJitter()], shapes=[[64, 64]]
    )
    with pytest.raises(InputError, match=r"^data.shapes has no effect, as ScaleJitter decides the padded shape; leave"):
        module.setup("fit")


@pytest.mark.parametrize("form", ["none", "bitmaps"])
def test_a_broken_mask_that_a_crop_meets_makes_an_empty_slot_that_is_named(masked_set: Path, monkeypatch, form: str):
    data = padded(masked_set, [])
    reader = ShardReader(data.shard_set, ShardCache(None, 1e9, FetchPolicy(1.0, 1)))
    raw = reader.read(3)
    for annotation in raw.content["annotations"]:
        annotation["segmentation"] = {"size": [raw.content["height"], raw.content["width"]], "counts": "0"}
    monkeypatch.setattr(reader, "read", lambda number: raw)
    samples = DetectionDataset(reader, RULES, "training", [RandomSizeCrop(14, 14, p=1.0)], mask_form=form)
    problem = samples[BatchRequest(0, 0, (96, 96), (3,))].records[0].problem
    assert "shard-000000.tar, key 000000003: a mask cannot be read (the runs of an RLE do not add up" in problem
