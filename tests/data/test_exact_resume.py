"""Exact resume with everything random at once: all transforms, repeated images, sources by weight, and a kill -9."""

import hashlib
import os
import signal
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from torchvision.transforms import v2

from lightning_rcnn.data import transforms as ours
from lightning_rcnn.data.batch_images import BatchImages, RenderedImages, UnrenderedImages
from lightning_rcnn.data.cache import ShardCache
from lightning_rcnn.data.datamodule import DetectionDataModule
from lightning_rcnn.data.dataset import DetectionDataset
from lightning_rcnn.data.decoded_batch import LoadedBatch, rendered
from lightning_rcnn.data.fetch import FetchPolicy
from lightning_rcnn.data.image_classes import image_classes
from lightning_rcnn.data.loader import PlannedLoader
from lightning_rcnn.data.padded_set import pad_set
from lightning_rcnn.data.reader import ShardReader
from lightning_rcnn.data.resize import ResizeRule
from lightning_rcnn.data.sampling import RepeatFactor
from lightning_rcnn.data.shards import read_training_shards
from lightning_rcnn.data.transforms.color_transform import left_to_device
from lightning_rcnn.data.transforms.pipeline import checked_transforms, min_sizes
from tests.data.batch_contents import contents

EPOCH, GLOBAL_BATCH, SEED = 3, 4, 11
SAMPLING = RepeatFactor(1.5, source_weights=(2.0, 1.0), empty_share=0.1, epoch_size=50)
LAST: dict[str, list[Any]] = {
    "scale jitter": [ours.ScaleJitter([64, 90]), ours.CopyPaste(p=0.5)],
    "multi-scale": [ours.CopyPaste(p=0.5), ours.Resize([48, 64])],
    "rendered by the device": [ours.CopyPaste(), ours.PhotometricDistortion(), ours.ZoomOut(), ours.Resize([48, 64])],
}


def everything(last: str) -> list[Any]:
    """All transforms that fit in one list."""
    geometry = [
        ours.HorizontalFlip(),
        ours.VerticalFlip(),
        ours.QuarterTurns(),
        ours.ZoomOut(),
        ours.RandomSizeCrop(20, 50),
        ours.RandomIoUCrop(),
        ours.Affine(translate=[0.1, 0.1], scale_range=[0.8, 1.2], shear=[-5, 5]),
        v2.RandomPerspective(0.3),
        v2.SanitizeBoundingBoxes(),
        ours.Mosaic(size=[60, 48], p=0.5),
    ]
    pixels = [
        ours.Colors(brightness=0.2, hue=0.1),
        ours.PhotometricDistortion(),
        ours.Grayscale(),
        ours.Blur(p=0.5),
        ours.Noise(p=0.5),
        ours.JPEG(p=0.5),
        ours.Cutout(),
    ]
    return [*geometry, *pixels, *LAST[last]]


def test_no_transform_is_missing_here():
    exported = {each for each in vars(ours).values() if isinstance(each, type) and issubclass(each, ours.Transform)}
    bases = {ours.Transform, ours.PlannedTransform, ours.MixingTransform}
    assert {type(each) for last in LAST for each in everything(last)} >= exported - bases


def loader_of(folders: Sequence[Path], last: str, first: int, rank: int, world: int, num_workers: int) -> PlannedLoader:
    """The loader of a rank, from a batch within the epoch."""
    transforms = checked_transforms(everything(last))
    shard_set = read_training_shards([str(folder) for folder in folders])
    rules = [ResizeRule(edge, 96) for edge in min_sizes(transforms) or [64]]
    data = pad_set(shard_set, rules, transforms=transforms)
    counts = SAMPLING.counts(image_classes(shard_set.index, shard_set.shard_sources, [str(each) for each in folders]))
    plan = partial(
        data.plan_training,
        seed=SEED,
        batch_size=GLOBAL_BATCH // world,
        rank=rank,
        world=world,
        window=100,
        balance_window=3,
        counts=counts,
    )
    reader = ShardReader(shard_set, ShardCache(None, 1e9, FetchPolicy()))
    images: type[BatchImages] = RenderedImages
    if last == "rendered by the device":
        images, transforms = UnrenderedImages, left_to_device(transforms)
    samples = DetectionDataset(reader, rules, "training", transforms, SEED, mask_form="bitmaps", images=images)
    return PlannedLoader(
        samples,
        plan,
        counts.size // GLOBAL_BATCH,
        position=lambda: (EPOCH, first),
        rank=rank,
        world=world,
        max_corrupt_share=0.5,
        image_bytes=samples.image_bytes(GLOBAL_BATCH // world, data.largest_shape, data.areas),
        num_workers=num_workers,
    )


def digests(loaded: LoadedBatch) -> list[str]:
    """A hash of each slot: its contents, the padded shape, and the records of the image and its partners."""
    found, batch = [], rendered(loaded)
    for record, parts in zip(batch.records, contents(batch), strict=True):
        digest = hashlib.sha256(repr((tuple(batch.images.shape[2:]), record)).encode())
        for part in parts:
            digest.update(hashlib.sha256(part).digest())
        found.append(digest.hexdigest())
    return found


def record(file: Path, killed_after: int | None, loader: partial[PlannedLoader]) -> None:
    """Write a line of hashes for each batch; be killed by signal 9 after some, without a chance to clean up."""
    with file.open("w") as lines:
        for number, batch in enumerate(loader(), start=1):
            lines.write(" ".join(digests(batch)) + "\n")
            lines.flush()
            if number == killed_after:
                os.kill(os.getpid(), signal.SIGKILL)


def read(file: Path) -> list[list[str]]:
    return [line.split() for line in file.read_text().splitlines()]


@pytest.fixture(scope="module")
def two_sets(make_set, tmp_path_factory) -> list[Path]:
    """Sets with masks; an image of the second one cannot be read."""
    folder = tmp_path_factory.mktemp("sets")
    first = make_set(folder / "first", masks=True)
    return [first, make_set(folder / "second", (6, 4), first_id=5000, masks=True, broken=[5])]


def require_everything(batches: list[LoadedBatch]) -> None:
    """The epoch has repeated images of both sets, partners, and images that cannot be read; no entry equals another."""
    records = [record for batch in batches for record in batch.records]
    partners = [partner for record in records for partner in record.partners]
    ids = [record.image_id for record in records if not record.problem]
    assert len(records) == SAMPLING.epoch_size // GLOBAL_BATCH * GLOBAL_BATCH
    assert len(set(ids)) < len(ids)
    assert min(ids) < 5000 < max(ids)
    assert len({partner.image_id for partner in partners}) > 20
    assert any(record.problem for record in [*records, *partners])
    assert len({digest for batch in batches for digest in digests(batch)}) > len(ids)


@pytest.mark.end_to_end
@pytest.mark.parametrize("last", ["scale jitter", "multi-scale", "rendered by the device"])
def test_the_batches_after_a_kill_9_are_those_of_an_undisturbed_run(two_sets, tmp_path: Path, fresh_process, last: str):
    """Of one rank with four workers the process is killed; two ranks of two workers do the rest."""
    batches = list(loader_of(two_sets, last, 0, 0, 1, 0))
    require_everything(batches)
    whole = [digests(batch) for batch in batches]

    killed = fresh_process(record, tmp_path / "killed", 5, partial(loader_of, two_sets, last, 0, 0, 1, 4))
    killed.start()
    killed.join()
    assert killed.exitcode == -signal.SIGKILL
    before = read(tmp_path / "killed")
    assert before == whole[:5]

    resumed = [
        fresh_process(record, tmp_path / f"{rank}", None, partial(loader_of, two_sets, last, len(before), rank, 2, 2))
        for rank in range(2)
    ]
    for process in resumed:
        process.start()
    for process in resumed:
        process.join()
        assert process.exitcode == 0
    ranks = [read(tmp_path / f"{rank}") for rank in range(2)]
    assert [first + second for first, second in zip(*ranks, strict=True)] == whole[5:]


def test_no_transform_and_no_sampling_reaches_validation(two_sets):
    batches = []
    for options in ({}, {"train_transforms": everything("scale jitter"), "sampling": SAMPLING}):
        data = DetectionDataModule([str(each) for each in two_sets], val=str(two_sets[0]), num_workers=0, **options)
        data.mask_form, data.resize_rule = "bitmaps", ResizeRule(64, 96)
        data.setup("fit")
        batches.append([digests(batch) for batch in data.val_dataloader()])
    assert batches[0] == batches[1]
    assert len(batches[0]) == 22
