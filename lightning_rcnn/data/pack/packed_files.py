"""Tell the files of a packed data set from others in its folder, which `pack --overwrite` must not remove."""

import json
from collections.abc import Collection
from pathlib import Path

from lightning_rcnn.data.formats.splits import ORDER
from lightning_rcnn.data.index import INDEX_NAME, is_packed
from lightning_rcnn.errors import InputError

_SPLITS = frozenset({*ORDER, "other"})


def is_packed_or_splits(folder: Path, splits: Collection[str]) -> bool:
    """Return whether a folder is a packed data set, or holds nothing but the packed splits of one.

    Args:
        folder: folder.
        splits: further names of splits. Packed sets of other names beside each other are sets of their own.
    """
    if is_packed(folder):
        return True
    return folder.is_dir() and all(
        is_packed(inside) and (inside.name in _SPLITS or inside.name in splits) for inside in folder.iterdir()
    )


def file_of_others(folder: Path) -> Path | None:
    """Return the first file or folder in a packed data set, or in its splits, that packing did not write there.

    Raises:
        InputError: an index cannot be read.
    """
    if not is_packed(folder):
        found = (file_of_others(split) for split in sorted(folder.iterdir()))
        return next((path for path in found if path is not None), None)
    own = {INDEX_NAME, *_shard_names(folder / INDEX_NAME)}
    return next((path for path in sorted(folder.iterdir()) if path.name not in own), None)


def _shard_names(path: Path) -> set[str]:
    """Return the names of the shards in an index of any version, but of those that another program wrote."""
    try:
        shards = json.loads(path.read_bytes()).get("shards", [])
        return {shard["name"] for shard in shards if not shard.get("annotations")}
    except (OSError, ValueError, KeyError, AttributeError, TypeError) as error:
        raise InputError(f"{path}: cannot be read, so the files of the set are unknown; remove it yourself") from error
