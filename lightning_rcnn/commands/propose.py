"""`lightning-rcnn propose`: proposals in advance, beside the images."""

import os
from pathlib import Path

from rich.console import Console

from lightning_rcnn.data.cache import ShardCache
from lightning_rcnn.data.fetch import FetchPolicy
from lightning_rcnn.data.pack.proposal_shards import write_proposals
from lightning_rcnn.data.shards import read_shards
from lightning_rcnn.errors import InputError
from lightning_rcnn.proposals.selective_search import SelectiveSearch, SelectiveSearchMode


def propose(
    shards: str,
    out: Path,
    mode: SelectiveSearchMode = "fast",
    width: int = 500,
    limit: int = 2000,
    workers: int | None = None,
) -> None:
    """Make proposals for the images of a packed data set, and write shards that hold them beside the images.

    After an interruption the same command goes on where it was.

    Args:
        shards: the packed data set: a folder, shards or a URL.
        out: the folder for the new shards.
        mode: of selective search; quality finds more objects and takes about twice as long.
        width: pixels to which images are scaled for selective search.
        limit: the most proposals of an image, the best ones.
        workers: processes; by default one a core.
    """
    if min(width, limit, workers or 1) < 1:
        raise InputError(f"--width {width}, --limit {limit} and --workers {workers} have to be at least 1")
    shard_set = read_shards(shards)
    method = SelectiveSearch(mode, width, limit)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    index = write_proposals(
        shard_set,
        ShardCache(None, 100e9, FetchPolicy()),
        out,
        method,
        method.method,
        workers=workers or min(cores, len(shard_set.index)),
        console=Console(),
    )
    print(f"{index.name}: {len(index)} images with proposals are in {out}.")
