"""Transforms that mix samples: partners, resume, unreadable records, and what is refused."""

import io
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from pycocotools import mask as coco_mask
from torch.utils.data import Dataset
from torchvision.transforms.v2 import RandomAffine

from lightning_rcnn.data.cache import ShardCache
from lightning_rcnn.data.datamodule import DetectionDataModule
from lightning_rcnn.data.dataset import BatchRequest, DetectionDataset
from lightning_rcnn.data.fetch import FetchPolicy
from lightning_rcnn.data.loader import PlannedLoader
from lightning_rcnn.data.loading import LoadingSettings
from lightning_rcnn.data.padded_set import pad_set
from lightning_rcnn.data.reader import RawSample, ShardReader
from lightning_rcnn.data.resize import ResizeRule
from lightning_rcnn.data.shards import read_shards
from lightning_rcnn.data.torch_dataset import TorchDatasetReader, read_torch_dataset
from lightning_rcnn.data.transforms import (
    Affine,
    CopyPaste,
    HorizontalFlip,
    Mosaic,
    Random,
    RandomSizeCrop,
    Resize,
    ScaleJitter,
    TrainingImage,
    Transform,
    VerticalFlip,
)
from lightning_rcnn.data.transforms.pipeline import checked_transforms
from lightning_rcnn.errors import InputError
from lightning_rcnn.masks.segmentation import as_run_length
from lightning_rcnn.structures import NO_IMAGE
from tests.data.batch_contents import contents

RULES = (ResizeRule(64, 96),)
FLIPS = [HorizontalFlip(), VerticalFlip()]


class InMemory(Dataset):
    """The samples of a packed set in torchvision's form."""

    classes = ("cat", "dog")

    def __init__(self, folder: Path) -> None:
        reader = ShardReader(read_shards(str(folder)), ShardCache(None, 1e9, FetchPolicy()))
        self.samples = [reader.read(number) for number in range(len(reader))]

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, number: int) -> Any:
        content = self.samples[number].content
        objects, size = content["annotations"], (content["height"], content["width"])
        target = {
            "boxes": torch.tensor([entry["bbox"] for entry in objects]).reshape(-1, 4),
            "labels": torch.tensor([entry["label"] for entry in objects], dtype=torch.int64),
            "iscrowd": torch.tensor([entry["iscrowd"] for entry in objects], dtype=torch.int64),
            "image_id": content["image_id"],
        }
        if all("segmentation" in entry for entry in objects):
            dense = [coco_mask.decode(as_run_length(entry["segmentation"], *size)) for entry in objects]
            target["masks"] = torch.from_numpy(np.array(dense, np.uint8).reshape(-1, *size))
        return Image.open(io.BytesIO(self.samples[number].image)), target


def dataset_of(source: Path | Dataset, transforms: Sequence[Any], mask_form: str = "bitmaps") -> DetectionDataset:
    if isinstance(source, Path):
        reader: Any = ShardReader(read_shards(str(source)), ShardCache(None, 1e9, FetchPolicy()))
    else:
        reader = TorchDatasetReader(source, "bitmaps")
    return DetectionDataset(reader, RULES, "training", transforms, mask_form=mask_form)


def loader_of(
    source: Path | Dataset, transforms: Sequence[Any], rank: int, world: int, **options: Any
) -> PlannedLoader:
    shard_set = read_shards(str(source)) if isinstance(source, Path) else read_torch_dataset(source, "train")
    data = pad_set(shard_set, RULES)
    form = options.pop("mask_form", "bitmaps")
    plan = partial(data.plan_training, seed=0, batch_size=4 // world, rank=rank, world=world, window=100)
    samples = dataset_of(source, transforms, form)
    memory = samples.layout(4 // world, data.largest_shape).num_bytes
    return PlannedLoader(samples, plan, len(data) // 4, rank=rank, world=world, image_bytes=memory, **options)


@pytest.fixture(scope="module")
def masked_set(make_set, tmp_path_factory) -> Path:
    return make_set(tmp_path_factory.mktemp("sets") / "masked", masks=True)


@pytest.mark.parametrize(("in_memory", "mask_form"), [(False, "bitmaps"), (False, "polygons"), (True, "bitmaps")])
@pytest.mark.end_to_end
def test_mixed_batches_do_not_depend_on_ranks_workers_or_restarts(masked_set: Path, in_memory: bool, mask_form: str):
    source = InMemory(masked_set) if in_memory else masked_set
    transforms = [*FLIPS, Mosaic(p=0.5), CopyPaste(p=0.8)]

    def batches(rank: int, world: int, num_workers: int, first: int = 0) -> list[Any]:
        loader = loader_of(
            source, transforms, rank, world, mask_form=mask_form, num_workers=num_workers, position=lambda: (2, first)
        )
        return [contents(batch) for batch in loader]

    whole = batches(0, 1, 4)
    ranks = [batches(rank, 2, 2) for rank in range(2)]
    assert [first + second for first, second in zip(*ranks, strict=True)] == whole
    assert batches(0, 1, 0, first=6) == whole[6:]
    assert len(set(chain.from_iterable(whole))) == len(whole) * 4


def test_partners_are_other_samples(masked_set: Path):
    """The red part of each image is its number, also in the objects that are pasted from it."""
    dataset = dataset_of(masked_set, [CopyPaste(p=1.0)])
    partners = []
    for number in range(len(dataset)):
        batch = dataset[BatchRequest(0, 0, (96, 96), (number,))]
        (record,) = batch.records[0].partners
        partners.append(record.image_id - 1000)
        height, width = batch.image_sizes[0].tolist()
        colors = batch.images[0, 0, :height, :width].unique().tolist()  # those between are of resized edges
        assert {number} <= {colors[0], colors[-1]} <= {number, partners[-1]}
    assert all(partner != number for number, partner in enumerate(partners))
    assert len(set(partners)) > len(dataset) / 2


class Blacken(Transform):
    """Makes an image black."""

    def __call__(self, sample: TrainingImage, random: Random) -> TrainingImage:
        """Return a black image."""
        return replace(sample, image=torch.zeros_like(sample.image))


@pytest.mark.parametrize("mixing", [CopyPaste(p=1.0), Mosaic(p=1.0)])
def test_partners_pass_only_the_transforms_before(masked_set: Path, mixing):
    request = BatchRequest(0, 0, (96, 96), (3, 9, 14, 27))
    before = dataset_of(masked_set, [Blacken(), mixing])[request]
    assert all(record.partners for record in before.records)
    assert not before.images.any()
    assert dataset_of(masked_set, [mixing])[request].images.any()


def test_partners_draw_for_themselves(masked_set: Path):
    """A partner is not seen as when it is the sample: here with other flips."""
    flips: list[list[bool]] = []

    class Note(Transform):
        def __call__(self, sample: TrainingImage, random: Random) -> TrainingImage:
            flips[-1].append(sample.is_mirrored)
            return sample

    dataset = dataset_of(masked_set, [HorizontalFlip(), Note(), Mosaic(p=1.0)])
    for number in range(40):
        flips.append([])
        dataset[BatchRequest(0, 0, (96, 96), (number,))]
    assert all(len(each) == 4 for each in flips)
    assert all(0.2 < np.mean(each) < 0.8 for each in zip(*flips, strict=True))
    assert len({tuple(each) for each in flips}) > 8


@pytest.mark.parametrize("mixing", [CopyPaste(p=1.0), Mosaic(p=1.0)])
def test_a_partner_that_cannot_be_read_is_named_and_the_sample_stays_as_it_is(make_set, tmp_path: Path, caplog, mixing):
    folder = make_set(tmp_path / "set", (8, 4), masks=True, broken=[5])
    plain, mixed = dataset_of(folder, []), dataset_of(folder, [mixing])
    requests = [BatchRequest(0, 0, (96, 96), (number,)) for number in range(12) if number != 5]
    have_problem = 0
    for request in requests:
        batch, expected = mixed[request], plain[request]
        problems = [partner.problem for partner in batch.records[0].partners if partner.problem]
        have_problem += len(problems)
        assert not batch.records[0].problem
        if problems:
            assert contents(batch) == contents(expected)
            assert f"{folder}/shard-000000.tar, key 000000005 (images/5.png): " in problems[0]
    assert 1 <= have_problem < len(requests)
    loader = loader_of(folder, [mixing], 0, 1, max_corrupt_share=0.1)  # 5 itself is one of 12
    for epoch in range(2):
        loader.sampler.set_epoch(epoch)
        assert [NO_IMAGE in batch.image_ids for batch in loader].count(True) == 1
    assert len(loader.problems) == len(caplog.messages) == 1


@pytest.mark.parametrize(
    "segmentation", [{"size": [1, 1], "counts": "!"}, [["a"] * 6], {"size": [30, 40], "counts": "0"}]
)
def test_a_damaged_mask_is_that_of_the_partner_or_of_the_sample(masked_set: Path, monkeypatch, segmentation):
    plain, mixed = (dataset_of(masked_set, each, "none") for each in ([], [CopyPaste(p=1.0)]))
    requests = [BatchRequest(0, 0, (96, 96), (number,)) for number in range(2, 43, 4)]
    partners = [mixed[request].records[0].partners[0].image_id - 1000 for request in requests]
    request, partner = next(pair for pair in zip(requests, partners, strict=True) if pair[1] % 4 == 3)
    for damaged in (partner, *request.samples):
        for dataset in (plain, mixed):
            monkeypatch.setattr(dataset.reader, "read", partial(read_damaged, masked_set, damaged, segmentation))
        batch = mixed[request]
        (problem,) = [record.problem for record in (batch.records[0], *batch.records[0].partners) if record.problem]
        assert f"key {damaged:09d}: a mask cannot be read (" in problem
        assert "\n" not in problem
        if damaged == partner:
            assert contents(batch) == contents(plain[request])


@pytest.mark.parametrize("segmentation", [[["a"] * 6], [[1.0] * 7], [], [[]]])
@pytest.mark.parametrize("mask_form", ["bitmaps", "polygons", "none"])
def test_no_transform_fails_on_broken_polygons(masked_set: Path, monkeypatch, segmentation, mask_form: str):
    """The sample is used or named; an error of numpy would end the training."""
    moving = [[Affine(p=1.0)], [HorizontalFlip(p=1.0), RandomAffine(20)], [RandomSizeCrop(5, 12, p=1.0)]]
    for transforms in (*moving, [Mosaic(p=1.0)], [ScaleJitter([40, 40]), CopyPaste(p=1.0)]):
        dataset = dataset_of(masked_set, transforms, mask_form)
        monkeypatch.setattr(dataset.reader, "read", partial(read_damaged, masked_set, 3, segmentation))
        batch = dataset[BatchRequest(0, 0, (96, 96), (3, 9, 14, 27))]
        problem = batch.records[0].problem
        assert not problem or "key 000000003: a mask cannot be read (" in problem
        assert not any(record.problem for record in batch.records[1:])


def read_damaged(folder: Path, damaged: int, segmentation: Any, number: int) -> RawSample:
    raw = ShardReader(read_shards(str(folder)), ShardCache(None, 1e9, FetchPolicy())).read(number)
    if number == damaged:
        for annotation in raw.content["annotations"]:
            annotation["segmentation"] = segmentation
    return raw


def set_up(source: Any, transforms: list[Any], **attributes: Any) -> DetectionDataModule:
    loading = LoadingSettings(max_corrupt_share=0.1)
    data = DetectionDataModule(train=source, train_transforms=transforms, num_workers=0, loading=loading)
    for name, value in attributes.items():
        setattr(data, name, value)
    data.setup("fit")
    return data


def test_what_copy_paste_and_mosaic_cannot_mix_is_refused_at_the_start(uneven_set: Path, masked_set: Path):
    """Copy-paste needs masks, mosaic does not; neither moves stored proposals."""
    without_masks = "has boxes but no masks, which CopyPaste needs; take it out of data.train_transforms, or pack"
    with pytest.raises(InputError, match=f"^data.train: .*{without_masks}[^\n]*$"):
        set_up(str(uneven_set), [CopyPaste()])
    set_up(str(uneven_set), [Mosaic()])
    set_up(str(masked_set), [CopyPaste()])
    for transform in (CopyPaste(), Mosaic()):
        message = f"^data.train_transforms: {type(transform).__name__} mixes images, and stored proposals[^\n]*$"
        with pytest.raises(InputError, match=message):
            set_up(str(masked_set), [transform], proposal_limit=5)


def test_an_item_in_memory_without_masks_is_left_out_where_copy_paste_needs_them(masked_set: Path):
    items = InMemory(masked_set)
    data = set_up(items, [CopyPaste()])
    items.samples[6].content["annotations"][0].pop("segmentation")
    loader = data.train_dataloader()
    assert sum(NO_IMAGE in batch.image_ids for batch in loader) == 1
    (problem,) = loader.problems
    assert problem == "item 6 of InMemory: its objects have no masks, and those of other items do"


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: CopyPaste(p=1.5), "CopyPaste: p 1.5 is not a probability; give 0 to 1"),
        (lambda: CopyPaste(min_visible=-0.1), "CopyPaste: min_visible -0.1 is not a share; give 0 to 1"),
        (lambda: Mosaic(p=float("nan")), "Mosaic: p nan is not a probability"),
        (lambda: Mosaic(min_visible=2.0), "Mosaic: min_visible 2.0 is not a share"),
        (lambda: checked_transforms([ScaleJitter(), Mosaic()]), "ScaleJitter is not last; put it last, behind Mosaic"),
        (lambda: checked_transforms([Resize([64]), CopyPaste()]), "Resize is not last; put it last, behind CopyPaste"),
        (
            lambda: checked_transforms([ScaleJitter(), Resize([64])]),
            "ScaleJitter and Resize each decide the size of batches; keep one of them",
        ),
    ],
)
def test_bad_settings_and_orders_are_refused_in_one_line(build, message: str):
    with pytest.raises(InputError, match=f"^data.train_transforms: {message}[^\n]*$"):
        build()


def test_copy_paste_may_follow_scale_jitter_and_fills_its_batches(masked_set: Path):
    short_names = [
        {"class_path": "lightning_rcnn.data.transforms.ScaleJitter", "init_args": {"target_size": [64, 90]}},
        {"class_path": "lightning_rcnn.data.transforms.CopyPaste", "init_args": {"p": 1.0}},
    ]
    data = set_up(str(masked_set), short_names)
    batches = list(data.train_dataloader())
    assert {batch.images.shape[-2:] for batch in batches} == {(64, 96)}
    sizes = torch.cat([batch.image_sizes for batch in batches])
    assert sizes.amax(dim=0).tolist() == [64, 90]
    assert len(sizes.unique(dim=0)) > 10
