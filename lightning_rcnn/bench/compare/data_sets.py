"""The data of the comparison: the user's data set or generated scenes, with proposals."""

import statistics
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from rich.console import Console
from torch import Tensor

from lightning_rcnn.data.cache import ShardCache
from lightning_rcnn.data.decode_sample import decode_sample
from lightning_rcnn.data.fetch import FetchPolicy
from lightning_rcnn.data.index import ShardIndex
from lightning_rcnn.data.pack.proposal_shards import FromPixels, write_proposals
from lightning_rcnn.data.pack.shapes import shapes_source
from lightning_rcnn.data.pack.write import write_shards
from lightning_rcnn.data.reader import ShardReader
from lightning_rcnn.data.shards import category_difference, read_shards, told_apart
from lightning_rcnn.data.workers import available_cores
from lightning_rcnn.errors import InputError
from lightning_rcnn.proposals.selective_search import SelectiveSearch
from lightning_rcnn.skeleton import Skeleton

NUM_TRAIN, NUM_VAL = 600, 60
"""Number of generated scenes, if no data are given."""
SMALLEST, LARGEST = 320, 600
"""Limits of the shorter edge of resized images, pixels: small objects need the lower one at a stride of 16, the paper
has the upper one (Fast R-CNN section 5)."""

_IMAGES_PER_PROCESS = 16
"""A process imports torch for some seconds; it should search for longer than that."""


class DataSets(NamedTuple):
    """Packed data sets.

    Attributes:
        train, val: sources for `DetectionDataModule`.
        val_index: index of `val`.
        has_masks: whether all objects of both have masks.
        skeleton: keypoints of the objects, if both have them.
        min_size: shorter edge of the resized images, pixels.
    """

    train: str
    val: str
    val_index: ShardIndex
    has_masks: bool
    skeleton: Skeleton | None
    min_size: int


def prepare(train: str | None, val: str | None, folder: Path, console: Console) -> DataSets:
    """Read the data sets, or generate scenes, with masks and keypoints, if none are given.

    Args:
        train, val: packed data sets, with or without proposals; both or neither.
        folder: folder for generated scenes.
        console: where progress is shown.

    Raises:
        InputError: only one data set is given, or their categories differ.
    """
    if (train is None) != (val is None):
        raise InputError("give --train and --val, or neither for generated scenes")
    if train is None or val is None:
        train, val = str(folder / "scenes" / "train"), str(folder / "scenes" / "val")
        for seed, (source, number) in enumerate(((train, NUM_TRAIN), (val, NUM_VAL))):
            write_shards(shapes_source(number, seed, keypoints=True), Path(source), console=console)
    shard_sets = [read_shards(train), read_shards(val)]
    index = shard_sets[1].index
    if difference := category_difference(*told_apart({"--train": shard_sets[0].index, "--val": index})):
        raise InputError(f"--val does not fit: {difference}")
    edges = [min(size) for shard in index.shards for size in zip(shard.heights, shard.widths, strict=True)]
    min_size = int(min(max(statistics.median(edges), SMALLEST), LARGEST))
    has_masks = not any(shards.lacking_masks for shards in shard_sets)
    has_keypoints = not any(shards.lacking_keypoints for shards in shard_sets)
    return DataSets(train, val, index, has_masks, index.skeleton if has_keypoints else None, min_size)


def with_proposals(data: DataSets, folder: Path, search: SelectiveSearch, console: Console) -> DataSets:
    """Generate proposals for the sets that have none.

    Args:
        data: data sets.
        folder: folder for the proposals.
        search: selective search.
        console: where progress is shown.
    """
    train, val = (
        _with_proposals(source, folder / "proposals" / split, search, console)
        for split, source in (("train", data.train), ("val", data.val))
    )
    return data._replace(train=train, val=val)


def images(source: str, number: int) -> Iterator[Tensor]:
    """Decode the first images of a packed data set, [C, H, W]."""
    shard_set = read_shards(source)
    reader = ShardReader(shard_set, ShardCache(None, 100e9, FetchPolicy()))
    for sample in range(min(number, len(reader))):
        raw = reader.read(sample)
        yield decode_sample(raw, shard_set.index.pixels).pixels


def _with_proposals(source: str, out: Path, search: SelectiveSearch, console: Console) -> str:
    shard_set = read_shards(source)
    if not shard_set.lacking_proposals:
        return source
    cache = ShardCache(None, 100e9, FetchPolicy())
    workers = max(1, min(available_cores(), len(shard_set.index) // _IMAGES_PER_PROCESS))
    write_proposals(shard_set, cache, out, FromPixels(search), search.method, workers=workers, console=console)
    return str(out)
