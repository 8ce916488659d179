"""`lightning-rcnn bench roi-align`."""

from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

import torch
from rich.console import Console
from rich.table import Column, Table

from lightning_rcnn.bench.report import write_report
from lightning_rcnn.bench.roi_align import (
    Contender,
    Workload,
    copy_bandwidth,
    cpu_contenders,
    cuda_contenders,
    time_contenders,
)
from lightning_rcnn.bench.timing import quartiles
from lightning_rcnn.cli.option_checks import require_device, require_positive
from lightning_rcnn.cli.output_paths import require_file
from lightning_rcnn.errors import InputError


def roi_align(
    device: Literal["cpu", "cuda"] = "cpu",
    rois: int | None = None,
    channels: int = 256,
    images: int = 2,
    height: int = 800,
    width: int = 1344,
    strides: tuple[int, ...] = (),
    bins: tuple[int, ...] = (7, 14),
    repeats: int | None = None,
    seed: int = 0,
    json: Path | None = None,
) -> None:
    """Time RoIAlign over a pyramid against torchvision's MultiScaleRoIAlign, forward and backward.

    Both pool the same regions of the same features in turns. Every figure is a median over the repeats in milliseconds.
    The ratio compares the medians of forward and backward together: on the CPU with torchvision on NCHW features, its
    default, on a GPU with torchvision on the same features.

    Args:
        device: device that both run on.
        rois: number of regions in all images together; by default 512 on the CPU, 1024 on a GPU.
        channels: channels of every level.
        images: images in the batch.
        height: height of the network's input, pixels.
        width: width of the network's input, pixels.
        strides: strides of the levels, finest first; by default from 8 on the CPU, from 4 on a GPU.
        bins: output sizes to time.
        repeats: number of timed turns, after two untimed ones; by default 9 on the CPU, 51 on a GPU.
        seed: seed of features and regions.
        json: also write the figures to this file.
    """
    require_positive(rois=rois, channels=channels, images=images, height=height, width=width, repeats=repeats)
    require_positive(bins=min(bins, default=0))
    chosen = require_device(device)
    if json is not None:
        require_file(json, "--json")
    on_gpu = chosen.type == "cuda"
    rois = rois or (1024 if on_gpu else 512)
    strides = tuple(strides) or ((4, 8, 16, 32) if on_gpu else (8, 16, 32, 64))
    if strides[0] < 1 or strides[0].bit_count() != 1 or any(2 * fine != coarse for fine, coarse in pairwise(strides)):
        given = " ".join(map(str, strides))
        raise InputError(f"--strides {given}: have to be powers of two, each twice the one before, such as 4 8 16 32")
    repeats = repeats or (51 if on_gpu else 9)
    bandwidth = copy_bandwidth() if on_gpu else None
    device_name = torch.cuda.get_device_name() if on_gpu else f"CPU, {torch.get_num_threads()} threads"

    console = Console()
    results = []
    for size in bins:
        for clustered in (False, True):
            torch.manual_seed(seed)
            workload = Workload(images, height, width, channels, strides, rois, size, clustered)
            regions = workload.rois()
            contenders = (cuda_contenders if on_gpu else cpu_contenders)(workload, regions)
            time_contenders(contenders, chosen, repeats, console)
            figures = [_figures(contender, contenders, workload, regions, bandwidth) for contender in contenders]
            placement = "clustered" if clustered else "random"
            console.print(_table(f"{rois} {placement} regions, {size} x {size} bins, {device_name}", figures))
            results.append({"bins": size, "placement": placement, "contenders": figures})
    settings = {"rois": rois, "channels": channels, "input": [images, height, width], "strides": list(strides)}
    settings |= {"repeats": repeats, "copy_bandwidth": bandwidth}
    write_report(json, f"RoIAlign, {rois} regions, {device_name}", chosen, {**settings, "results": results})


def _figures(
    contender: Contender,
    contenders: list[Contender],
    workload: Workload,
    regions: torch.Tensor,
    bandwidth: float | None,
) -> dict[str, Any]:
    peer = next(other for other in contenders if other.name == contender.peer)
    total = quartiles(contender.total_ms).median
    figures: dict[str, Any] = {
        "name": contender.name,
        "ratio": quartiles(peer.total_ms).median / total,
        "wall_ratio": quartiles(peer.wall_ms).median / quartiles(contender.wall_ms).median,
        "forward_ms": quartiles(contender.forward_ms),
        "backward_ms": quartiles(contender.backward_ms),
        "together_ms": quartiles(contender.total_ms),
        "wall_ms": quartiles(contender.wall_ms),
    }
    if bandwidth is not None:
        min_seconds = workload.min_traffic(regions, contender.itemsize) / bandwidth
        figures["share_of_copy_bandwidth"] = min_seconds / (1e-3 * total)
    return figures


def _table(title: str, figures: list[dict[str, Any]]) -> Table:
    on_gpu = "share_of_copy_bandwidth" in figures[0]
    gpu_columns = ("wall", "bandwidth") if on_gpu else ()
    table = Table(
        Column("ms", no_wrap=True), "forward", "backward", "both", "quartiles", "ratio", *gpu_columns, title=title
    )
    digits = 3 if on_gpu else 1
    for row in figures:
        lower, median, upper = row["together_ms"]
        cells = [
            row["name"],
            f"{row['forward_ms'][1]:.{digits}f}",
            f"{row['backward_ms'][1]:.{digits}f}",
            f"{median:.{digits}f}",
            f"{lower:.{digits - 1}f} to {upper:.{digits - 1}f}",
            f"{row['ratio']:.2f}",
        ]
        if on_gpu:
            cells += [f"{row['wall_ms'][1]:.3f}", f"{row['share_of_copy_bandwidth']:.0%}"]
        table.add_row(*cells)
    return table
