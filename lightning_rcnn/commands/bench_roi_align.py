"""`lightning-rcnn bench roi-align`."""

import json as json_format
from pathlib import Path
from typing import Any, Literal

import torch
import torchvision
from rich.console import Console
from rich.table import Column, Table

from lightning_rcnn.roi.benchmark import Contender, Workload, cpu_contenders, quartiles, race


def roi_align(
    device: Literal["cpu"] = "cpu",
    rois: int = 512,
    channels: int = 256,
    images: int = 2,
    height: int = 800,
    width: int = 1344,
    strides: tuple[int, ...] = (8, 16, 32, 64),
    bins: tuple[int, ...] = (7, 14),
    repeats: int = 9,
    seed: int = 0,
    json: Path | None = None,
) -> None:
    """Time RoIAlign over a pyramid against torchvision's MultiScaleRoIAlign, forward and backward.

    Both pool the same regions of the same features, taking turns; every figure is a median over the repeats, with the
    quartiles. The ratio compares medians of forward and backward together with torchvision's on NCHW features.

    Args:
        device: where to run.
        rois: number of regions in all images together.
        channels: channels of every level.
        images: images in the batch.
        height: of the network's input.
        width: of the network's input.
        strides: strides of the levels, finest first.
        bins: output sizes to time.
        repeats: timed turns of each contender, after two untimed ones.
        seed: of features and regions.
        json: also write the figures to this file.
    """
    results = []
    for size in bins:
        for clustered in (False, True):
            torch.manual_seed(seed)
            workload = Workload(images, height, width, channels, strides, rois, size, clustered)
            contenders = cpu_contenders(workload)
            race(contenders, repeats)
            placement = "clustered" if clustered else "random"
            title = f"{rois} {placement} regions, {size} x {size} bins, float32 on {device}"
            Console().print(_table(title, contenders))
            results.append({"bins": size, "placement": placement, "contenders": [_figures(c) for c in contenders]})
    if json is not None:
        report = {
            "device": device,
            "threads": torch.get_num_threads(),
            "torch": torch.__version__,
            "torchvision": torchvision.__version__,
            "rois": rois,
            "channels": channels,
            "input": [images, height, width],
            "strides": list(strides),
            "results": results,
        }
        json.write_text(json_format.dumps(report, indent=2) + "\n")


def _table(title: str, contenders: list[Contender]) -> Table:
    table = Table(Column("ms", no_wrap=True), "forward", "backward", "both", "quartiles", "ratio", title=title)
    baseline = quartiles(contenders[0].total_ms)[1]
    for contender in contenders:
        lower, median, upper = quartiles(contender.total_ms)
        table.add_row(
            contender.name,
            f"{quartiles(contender.forward_ms)[1]:.1f}",
            f"{quartiles(contender.backward_ms)[1]:.1f}",
            f"{median:.1f}",
            f"{lower:.0f} to {upper:.0f}",
            f"{baseline / median:.2f}",
        )
    return table


def _figures(contender: Contender) -> dict[str, Any]:
    times = {"forward": contender.forward_ms, "backward": contender.backward_ms, "together": contender.total_ms}
    figures: dict[str, Any] = {"name": contender.name}
    for part, values in times.items():
        lower, median, upper = quartiles(values)
        figures[f"{part}_ms"] = {"median": median, "lower_quartile": lower, "upper_quartile": upper}
    return figures
