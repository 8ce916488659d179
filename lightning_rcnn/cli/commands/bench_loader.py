"""`lightning-rcnn bench loader`."""

from pathlib import Path

import torch
from rich.console import Console
from rich.table import Column, Table

from lightning_rcnn.bench.loader import LoaderBenchmark, Stage, time_stages
from lightning_rcnn.bench.report import write_report
from lightning_rcnn.bench.timing import quartiles
from lightning_rcnn.cli.option_checks import require_at_least, require_positive
from lightning_rcnn.cli.output_paths import require_file
from lightning_rcnn.data.batch_images import UnrenderedImages
from lightning_rcnn.data.cache import ShardCache
from lightning_rcnn.data.fetch import FetchPolicy
from lightning_rcnn.data.padded_set import pad_set
from lightning_rcnn.data.resize import ResizeRule
from lightning_rcnn.data.shards import read_shards
from lightning_rcnn.errors import InputError

H100_RATE = 181
"""Images/s of one H100 in the training of Mask R-CNN R50-FPN: MLPerf Training, 1448 on eight."""


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

    One core runs all stages but the last, on the same images in the order of a training epoch. "A core's second" is CPU
    time, in the last stage that of the workers: other programs and waiting for a disk do not count. The ratio to
    decoding alone is in CPU time. Copy-paste is a stage of sets with masks.

    Args:
        data: packed folders, shards or URLs.
        images: number of images to time, at most those of an epoch.
        batch_size: images in a batch.
        min_size: shorter edge of the resized images, pixels.
        max_size: limit of the longer edge, pixels.
        workers: worker processes of the last stage; 0 leaves it out.
        repeats: number of timed turns, after an untimed one.
        json: also write the figures to this file.

    Raises:
        InputError: data are missing or too few, or an option is impossible.
    """
    require_positive(images=images, batch_size=batch_size, min_size=min_size, max_size=max_size, repeats=repeats)
    require_at_least(0, workers=workers)
    if json is not None:
        require_file(json, "--json")
    torch.set_num_threads(1)
    policy = FetchPolicy()
    padded = pad_set(read_shards(data, policy), [ResizeRule(min_size, max_size)])
    if len(padded) < batch_size:
        raise InputError(f"--data: {len(padded)} images are fewer than one batch; lower --batch_size")
    benchmark = LoaderBenchmark(padded, ShardCache(None, 100e9, policy), batch_size, images)
    alone = benchmark.decoding_alone()
    stages = [alone, benchmark.reading(), benchmark.decoding()]
    if padded.shard_set.index.pixels.is_rgb:
        stages += [benchmark.resizing_plainly(), benchmark.resizing()]
    whole = benchmark.transforming()
    stages.append(whole)
    has_bytes = padded.shard_set.index.pixels.is_eight_bit
    if has_bytes:
        stages.append(benchmark.leaving_to_the_device())
    if not padded.shard_set.lacking_masks:
        stages.append(benchmark.copying_and_pasting())
    if workers:
        whole = benchmark.loading(workers)
        stages += [whole, *([benchmark.loading(workers, UnrenderedImages)] if has_bytes else [])]
    console = Console()
    time_stages(stages, repeats, console)

    title = f"{padded.shard_set.index.name}: {alone.images} of {len(padded)} images, {min_size} x {max_size} at most"
    table = Table(
        Column("stage", no_wrap=True), "images/s", "images in a core's second", "to decoding alone", title=title
    )
    for stage in stages:
        table.add_row(
            stage.name, f"{_rate(stage):.0f}", f"{stage.core_rate:.0f}", f"{stage.core_rate / alone.core_rate:.2f}"
        )
    console.print(table)
    cores = H100_RATE / whole.core_rate
    console.print(
        f"An H100 takes {H100_RATE} images/s in training Mask R-CNN (MLPerf Training): {cores:.1f} of these cores load "
        f"them, {8 * cores:.0f} for eight of them."
    )
    starts = [benchmark.first_batch(share) for share in (0.0, 0.5)]
    for start in starts:
        console.print(
            f"Starting an epoch at batch {start.batch}: planned in {1e3 * start.plan_seconds:.0f} ms, the first "
            f"batch {1e3 * start.seconds:.0f} ms later; {start.bytes_read / 1e3:.0f} kB read."
        )
    figures = [
        {"name": stage.name, "images": stage.images, "seconds": stage.seconds, "core_seconds": stage.core_seconds}
        for stage in stages
    ]
    write_report(json, title, torch.device("cpu"), {"stages": figures, "starts": [vars(start) for start in starts]})


def _rate(stage: Stage) -> float:
    return stage.images / quartiles(stage.seconds).median
