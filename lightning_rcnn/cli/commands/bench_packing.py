"""`lightning-rcnn bench pack`."""

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Column, Table

from lightning_rcnn.bench.packing import contenders, repeated
from lightning_rcnn.bench.report import write_report
from lightning_rcnn.bench.timing import Timed, quartiles, take_turns, timed
from lightning_rcnn.cli.option_checks import require_positive
from lightning_rcnn.cli.output_paths import require_file
from lightning_rcnn.data.pack.coco import coco_source
from lightning_rcnn.errors import InputError

_CPU = torch.device("cpu")


def pack(
    images: Path,
    annotations: Path,
    out: Path,
    number: int = 2000,
    workers: int | None = None,
    repeats: int = 5,
    json: Path | None = None,
) -> None:
    """Time packing against copying the same files and reading their headers, in one run.

    CPU time is that of all threads of this process; that of the processes that read masks is missing. Packing counts
    from the listed set to the folder under its final name. Removing what was written does not count.

    Args:
        images: folder of JPEGs of a COCO data set.
        annotations: its JSON file.
        out: existing folder on the disk that is measured, such as /dev/shm; a copy of the images is read from it, too,
            and all is removed again.
        number: number of images, each a file of its own; those of the set are repeated.
        workers: as of `pack`.
        repeats: number of timed turns, after an untimed one; medians are shown.
        json: also write the figures to this file.

    Raises:
        InputError: a folder or file is missing, an image is damaged, or a number is below 1.
    """
    require_positive(number=number, workers=workers, repeats=repeats)
    if json is not None:
        require_file(json, "--json")
    if not out.is_dir():
        raise InputError(f"--out {out}: no such folder; give one on the disk that is measured")
    source = coco_source(images, annotations)
    if not source.items:
        raise InputError(f"{annotations}: no image of it is in {images}")
    console = Console()
    with tempfile.TemporaryDirectory(dir=out) as files:
        timings = _timings(contenders(repeated(source, number, Path(files)), workers), out, repeats, console)
    title = f"{number} images of {source.name} in {out}"
    console.print(_table(title, timings, number))
    runs = {
        name: {"seconds": [turn.seconds for turn in turns], "core_seconds": [turn.core_seconds for turn in turns]}
        for name, turns in timings.items()
    }
    write_report(json, title, _CPU, {"images": number, "runs": runs})


def _timings(
    works: dict[str, Callable[[Path], None]], out: Path, repeats: int, console: Console
) -> dict[str, list[Timed[Any]]]:
    def measure(work: Callable[[Path], None]) -> Timed[Any]:
        with tempfile.TemporaryDirectory(dir=out) as folder:
            return timed(lambda: work(Path(folder)), _CPU)

    return dict(zip(works, take_turns(list(works.values()), measure, repeats, console), strict=True))


def _table(title: str, timings: dict[str, list[Timed[Any]]], number: int) -> Table:
    headings = ("images/s", "ms", "CPU ms", "to copying", "and checking")
    table = Table(Column(no_wrap=True), *(Column(heading, justify="right") for heading in headings), title=title)
    medians = {name: quartiles([turn.seconds for turn in turns]).median for name, turns in timings.items()}
    copying, checking, *_ = medians.values()
    for name, seconds in medians.items():
        core = quartiles([turn.core_seconds for turn in timings[name]]).median
        table.add_row(
            name,
            f"{number / seconds:.0f}",
            f"{1e3 * seconds / number:.3f}",
            f"{1e3 * core / number:.3f}",
            f"{copying / seconds:.2f}",
            f"{checking / seconds:.2f}",
        )
    return table
