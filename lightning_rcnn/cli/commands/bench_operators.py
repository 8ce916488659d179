"""`lightning-rcnn bench operators`."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, get_args

import torch
from rich.console import Console
from rich.table import Column, Table

from lightning_rcnn.bench.operators import Operator, cases
from lightning_rcnn.bench.report import write_report
from lightning_rcnn.bench.timing import quartiles, take_turns, timed
from lightning_rcnn.cli.option_checks import require_device, require_positive
from lightning_rcnn.cli.output_paths import require_file

_WARM_UP = 2


def operators(
    device: Literal["cpu", "cuda"] = "cpu",
    operator: Literal["all", "mask-targets", "roi-pool", "nms"] = "all",
    repeats: int = 9,
    seed: int = 0,
    json: Path | None = None,
) -> None:
    """Time mask targets, RoIPool and NMS against torchvision's ways to the same values.

    On the CPU the times are CPU time of all threads, so that a busy machine matters less; on a GPU they are wall time.
    RoIAlign has its own benchmark, `bench roi-align`.

    Args:
        device: device that runs the operators.
        operator: the only operator to time.
        repeats: number of timed turns, after two untimed ones; medians are shown.
        seed: seed of the workloads.
        json: also write the figures to this file.
    """
    require_positive(repeats=repeats)
    chosen = require_device(device)
    if json is not None:
        require_file(json, "--json")
    torch.manual_seed(seed)
    console = Console()
    results = []
    for case in cases(get_args(Operator) if operator == "all" else (operator,), chosen):
        contenders = list(case.contenders.values())
        runs = take_turns(contenders, lambda run: _seconds(run, chosen), repeats, console, _WARM_UP)
        figures = _figures(dict(zip(case.contenders, runs, strict=True)))
        console.print(_table(case.name, figures))
        results.append({"case": case.name, "contenders": figures})
    write_report(json, f"operators, {device}", chosen, {"results": results})


def _seconds(run: Callable[[], object], device: torch.device) -> float:
    times = timed(run, device)
    return times.seconds if device.type == "cuda" else times.core_seconds


def _figures(seconds: dict[str, list[float]]) -> list[dict[str, Any]]:
    peer = quartiles(seconds["torchvision"]).median
    return [{"name": name, "seconds": own, "ratio": peer / quartiles(own).median} for name, own in seconds.items()]


def _table(title: str, figures: list[dict[str, Any]]) -> Table:
    table = Table(Column("ms", no_wrap=True), "median", "quartiles", "ratio", title=title)
    for row in figures:
        lower, median, upper = (f"{1e3 * value:.2f}" for value in quartiles(row["seconds"]))
        table.add_row(row["name"], median, f"{lower} to {upper}", f"{row['ratio']:.2f}")
    return table
