"""The sources of data that a user gives for a split: shards, or a torch data set."""

from pathlib import Path
from typing import Any

from torch.utils.data import Dataset

from lightning_rcnn.data.fetch import FetchPolicy
from lightning_rcnn.data.shards import ShardSet, read_shards, read_training_shards
from lightning_rcnn.data.torch_dataset import read_torch_dataset
from lightning_rcnn.errors import InputError


def read_source(split: str, source: str | list[str] | Dataset, policy: FetchPolicy, *, needs_labels: bool) -> ShardSet:
    """Read the index of a split.

    Args:
        split: train, val, test or predict.
        source: packed folders, shards or URLs, or a torch data set.
        policy: how they are fetched.
        needs_labels: whether the labels of a torch data set are needed, for which all its targets are read.

    Raises:
        InputError: not a source, it cannot be read, or it has no images.
    """
    if isinstance(source, Dataset):
        shard_set: ShardSet = read_torch_dataset(source, split, needs_labels=needs_labels)
    elif not all(isinstance(entry, str) for entry in (source if isinstance(source, list | tuple) else [source])):
        raise InputError(
            f"data.{split}: {type(source).__name__} is no data source; give a packed folder, shards or URLs as "
            "strings, or a torch.utils.data.Dataset"
        )
    else:
        try:
            shard_set = (read_training_shards if split == "train" else read_shards)(source, policy)
        except InputError as error:
            raise InputError(f"data.{split}: {error}") from error
    if len(shard_set.index) == 0:
        raise InputError(f"data.{split}: {shard_set.index.name} has no images; give a data set with images")
    return shard_set


def source_names(source: Any) -> list[str]:
    """Return the names of the sources in a source of data, for messages."""
    entries = source if isinstance(source, list | tuple) else [source]
    return [entry if isinstance(entry, str) else type(entry).__name__ for entry in entries]


def without_paths(source: Any) -> Any:
    """Return a source of data with its paths as text."""
    if isinstance(source, list | tuple):
        return [without_paths(entry) for entry in source]
    return str(source) if isinstance(source, Path) else source
