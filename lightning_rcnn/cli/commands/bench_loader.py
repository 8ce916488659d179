"""`lightning-rcnn bench loader`."""

import json as json_format
import statistics
from pathlib import Path

import torch
import torchvision
from rich.console import Console
from rich.table import Column, Table

from lightning_rcnn.bench.loader import LoaderBenchmark, Stage, race
from lightning_rcnn.cli.output_paths import require_file
from lightning_rcnn.data.cache import ShardCache
from lightning_rcnn.data.fetch import FetchPolicy
from lightning_rcnn.data.padded_set import pad_set
from lightning_rcnn.data.resize import ResizeRule
from lightning_rcnn.data.shards import read_shards
from lightning_rcnn.errors import InputError


def loader(
    data: list[str],
    images: int = 400,
    batch_size: int = 4,
    min_size: int = 800,
    max_size: int = 1333,
    workers: int = 1,
    repeats: int = 5,
    json: Path | None = None,
) -> None:
    """Time the loader, stage by stage, against decoding alone, in one run.

    One core does all stages but the last, on the same images in the order of a training epoch. "A core's second" does
    not count what other programs use of the core, nor waiting for a disk; the ratio to decoding alone is of these.

    Args:
        data: packed folders, shards or URLs.
        images: how many are timed; at most those of an epoch.
        batch_size: images of a batch.
        min_size: shorter edge of the resized images, pixels.
        max_size: limit of the longer edge, pixels.
        workers: processes of the last stage.
        repeats: timed turns of each stage, after an untimed one.
        json: also write the figures to this file.

    Raises:
        InputError: data that are missing or too few.
    """
    if json is not None:
        require_file(json, "--json")
    torch.set_num_threads(1)
    policy = FetchPolicy()
    padded = pad_set(read_shards(data, policy), [ResizeRule(min_size, max_size)])
    if len(padded) < batch_size:
        raise InputError(f"--data: {len(padded)} images are fewer than one batch; lower --batch_size")
    benchmark = LoaderBenchmark(padded, ShardCache(None, 100e9, policy), batch_size, images)
    alone = benchmark.decoding_alone()
    stages = [alone, benchmark.reading(), benchmark.decoding(), benchmark.transforming()]
    through_workers = benchmark.loading(workers) if workers else None
    console = Console()
    race([*stages, through_workers] if through_workers else stages, repeats, console)

    title = f"{padded.shard_set.index.name}: {alone.images} of {len(padded)} images, {min_size} x {max_size} at most"
    table = Table(
        Column("stage", no_wrap=True), "images/s", "images in a core's second", "to decoding alone", title=title
    )
    for stage in stages:
        ratio = _core_rate(stage) / _core_rate(alone)
        table.add_row(stage.name, f"{_rate(stage):.0f}", f"{_core_rate(stage):.0f}", f"{ratio:.2f}")
    if through_workers:
        table.add_row(through_workers.name, f"{_rate(through_workers):.0f}", "-", "-")
    console.print(table)
    starts = [benchmark.first_batch(share) for share in (0.0, 0.5)]
    for start in starts:
        console.print(
            f"An epoch that begins at batch {start.batch}: planned in {1e3 * start.plan_seconds:.0f} ms, the first "
            f"batch {1e3 * start.seconds:.0f} ms later; {start.bytes_read / 1e3:.0f} kB read."
        )
    if json is not None:
        report = {
            "title": title,
            "torch": torch.__version__,
            "torchvision": torchvision.__version__,
            "stages": [
                {
                    "name": stage.name,
                    "images": stage.images,
                    "seconds": stage.seconds,
                    "core_seconds": stage.core_seconds,
                }
                for stage in [*stages, *([through_workers] if through_workers else [])]
            ],
            "starts": [vars(start) for start in starts],
        }
        json.write_text(json_format.dumps(report, indent=2) + "\n")


def _rate(stage: Stage) -> float:
    return stage.images / statistics.median(stage.seconds)


def _core_rate(stage: Stage) -> float:
    return stage.images / statistics.median(stage.core_seconds)
