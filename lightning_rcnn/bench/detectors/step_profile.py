"""`lightning-rcnn bench step --profile`: where the time and the memory of our training step go."""

import statistics
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor

from lightning_rcnn.bench.detectors.contenders import Architecture, training_precision, training_step
from lightning_rcnn.bench.detectors.parts import PartUsage, profile_parts
from lightning_rcnn.bench.report import write_report
from lightning_rcnn.structures import Inputs, Targets


def profile_step(
    architecture: Architecture,
    draw: Callable[[], tuple[Inputs, Targets]],
    waits: Sequence[float],
    size: tuple[int, int, int],
    device: torch.device,
    repeats: int,
    json: Path | None,
    trace: Path,
) -> None:
    """Profile steps in the precision of "auto"; print a table, and write a trace and, if wanted, the figures.

    Args:
        architecture: architecture of the detector.
        draw: returns the next batch, on the device.
        waits: seconds that each batch was waited for, appended by `draw`; empty for a batch in memory.
        size: (images, height, width), for the title.
        device: device of the step.
        repeats: number of profiled steps.
        json: file for the figures; None writes none.
        trace: file for the trace.
    """
    detector = architecture.ours().to(device).train()

    def losses() -> dict[str, Tensor]:
        return detector.losses(*draw())

    precision = training_precision(device)
    step = training_step(detector, losses, precision, device)
    console = Console()
    parts = profile_parts(detector, step, device, repeats, trace, console)
    if waits:
        parts.append(PartUsage("waiting for data", statistics.mean(waits[-repeats:])))
    title = f"{architecture.title('step', size, device)}, {precision}"
    console.print(_table(parts, title))
    if not waits:
        console.print("--shards FOLDER also shows how long a step waits for data.", soft_wrap=True)
    console.print(f"Trace: {trace}", soft_wrap=True)
    write_report(json, title, device, {"parts": [vars(part) for part in parts]})


def _table(parts: list[PartUsage], title: str) -> Table:
    total = PartUsage(
        "total", sum(p.forward for p in parts), sum(p.backward for p in parts), sum(p.kept_bytes for p in parts)
    )
    table = Table("part", "forward (ms)", "backward (ms)", "share", "kept for backward (MiB)", title=title)
    for part in [*parts, total]:
        table.add_row(
            part.name,
            f"{1e3 * part.forward:.1f}",
            f"{1e3 * part.backward:.1f}",
            f"{100 * part.seconds / total.seconds:.1f}%",
            f"{part.kept_bytes / 2**20:.0f}",
        )
    return table
