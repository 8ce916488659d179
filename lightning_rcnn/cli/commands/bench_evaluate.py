"""`lightning-rcnn bench evaluate`."""

from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Column, Table

from lightning_rcnn.bench.memory import peak_memory
from lightning_rcnn.bench.report import write_report
from lightning_rcnn.bench.scoring import ScoringWorkload, scorers
from lightning_rcnn.bench.scoring_ranks import wait_for_figures
from lightning_rcnn.bench.timing import quartiles, take_turns, timed
from lightning_rcnn.cli.option_checks import require_positive
from lightning_rcnn.cli.output_paths import require_file
from lightning_rcnn.errors import InputError
from lightning_rcnn.evaluation.scoring import RegionType

_CPU = torch.device("cpu")


def evaluate(
    type: RegionType = "bbox",
    images: int = 1000,
    detections: int = 30,
    objects: int = 7,
    classes: int = 80,
    repeats: int = 3,
    ranks: int = 1,
    seed: int = 0,
    json: Path | None = None,
) -> None:
    """Time the scoring of a generated set against pycocotools, in one run.

    Both score the same entries in COCO's form, which are in memory before: reading files does not count, and memory is
    what scoring needs beyond them. CPU time, of all threads, matters where the machine is busy.

    Args:
        type: bbox for boxes, segm for masks.
        images: number of images, 480 x 640 pixels each.
        detections: number of detections of an image; all count.
        objects: number of objects of an image, on average.
        classes: number of classes, without background.
        repeats: number of timed turns, after one that measures memory; medians are shown.
        ranks: also time how long so many processes, each with as many images, wait for their common figures of boxes,
            from their last batch on.
        seed: seed of the set.
        json: also write the figures to this file.

    Raises:
        InputError: a number below 1, masks over several ranks, or a file that cannot be written.
    """
    require_positive(
        images=images, detections=detections, objects=objects, classes=classes, repeats=repeats, ranks=ranks
    )
    if ranks > 1 and type != "bbox":
        raise InputError("--ranks: boxes are timed over ranks; leave --type out")
    if json is not None:
        require_file(json, "--json")
    console = Console()
    workload = ScoringWorkload(type, images, classes, objects, detections, seed)
    contenders = scorers(workload)
    peaks = [peak_memory(score, _CPU) for score in contenders.values()]
    turns = take_turns(list(contenders.values()), lambda score: timed(score, _CPU), repeats, console, warm_up=0)
    results: list[dict[str, Any]] = [
        {
            "library": library,
            "seconds": [turn.seconds for turn in own],
            "core_seconds": [turn.core_seconds for turn in own],
            "peak_bytes": peak,
            "figures": own[0].result,
        }
        for library, own, peak in zip(contenders, turns, peaks, strict=True)
    ]
    title = f"{images} x {detections} detections, {objects} objects an image, {classes} classes, {type}"
    console.print(_table(title, results))
    difference = _largest_difference(results[0]["figures"], results[1]["figures"])
    console.print(f"The twelve figures differ by {difference:.1g} at most.")
    waits = wait_for_figures(workload, ranks) if ranks > 1 else []
    if waits:
        longest, largest = max(wait.seconds for wait in waits), max(wait.peak_bytes for wait in waits)
        console.print(
            f"{ranks} ranks with {images} images each wait {longest:.2f} s for their figures; none needs more than "
            f"{largest / 1e6:.0f} MB for them."
        )
    figures = {"results": results, "largest_difference": difference, "ranks": [wait._asdict() for wait in waits]}
    write_report(json, title, _CPU, figures)


def _table(title: str, results: list[dict[str, Any]]) -> Table:
    headings = ("s", "quartiles", "CPU s", "MB", "AP", "ratio")
    table = Table("", *(Column(heading, justify="right") for heading in headings), title=title)
    peer = quartiles(results[0]["seconds"]).median
    for result in results:
        lower, median, upper = quartiles(result["seconds"])
        table.add_row(
            result["library"],
            f"{median:.2f}",
            f"{lower:.2f} to {upper:.2f}",
            f"{quartiles(result['core_seconds']).median:.2f}",
            f"{result['peak_bytes'] / 1e6:.0f}" if result["peak_bytes"] else "-",
            f"{result['figures']['AP']:.4f}",
            f"{peer / median:.1f} x",
        )
    return table


def _largest_difference(theirs: dict[str, float], ours: dict[str, float]) -> float:
    """Largest difference of two figures of one name; NaN in both is no difference."""
    pairs = [(theirs[name], ours[name]) for name in theirs]
    return max((abs(one - other) for one, other in pairs if one == one or other == other), default=0.0)
