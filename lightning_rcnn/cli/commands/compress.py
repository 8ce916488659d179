"""`lightning-rcnn compress`: Fast R-CNN's fully connected layers at a lower rank."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from statistics import median
from time import perf_counter

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn

from lightning_rcnn.cli.output_paths import require_file
from lightning_rcnn.detectors.fast_rcnn import FastRCNN
from lightning_rcnn.detectors.loading import load_detector, save_detector
from lightning_rcnn.errors import InputError
from lightning_rcnn.plain_data import to_plain
from lightning_rcnn.progress import at_work, track
from lightning_rcnn.roi_heads.box_branch import BoxBranch
from lightning_rcnn.roi_heads.box_head import TwoLayerHead
from lightning_rcnn.roi_heads.truncated_svd import truncate

_REPEATS = 5


def compress(
    checkpoint: str, out: Path, ranks: Sequence[int] = (1024, 256), regions: int = 1000, overwrite: bool = False
) -> None:
    """Make a trained Fast R-CNN faster by truncated singular value decomposition (paper, section 3.1).

    The fully connected layers fc6 and fc7 are replaced by the nearest ones of a lower rank. `validate` and `detect`
    take the new checkpoint like the old one. The time of the head before and after is measured and shown.

    Args:
        checkpoint: checkpoint of a Fast R-CNN with two fully connected layers, or its URL.
        out: checkpoint to write; it appears when it is whole.
        ranks: ranks of fc6 and fc7; the paper's for VGG16 are 1024 and 256.
        regions: number of regions on which the head is timed.
        overwrite: replace an existing file.
    """
    if regions < 1:
        raise InputError(f"--regions {regions}: at least 1")
    require_file(out, "--out")
    if out.exists() and not overwrite:
        raise InputError(f"{out}: is there already; give another --out, or --overwrite")
    if len(ranks) != 2 or min(ranks) < 1:
        raise InputError(f"--ranks {' '.join(map(str, ranks))}: give one for fc6 and one for fc7, each at least 1")
    detector = load_detector(checkpoint)
    if not isinstance(detector, FastRCNN):
        raise InputError(f"{checkpoint}: is a {type(detector).__name__}; only the head of Fast R-CNN is compressed")
    branch = detector.box
    head = branch.settings.head if isinstance(branch, BoxBranch) else None
    if not isinstance(branch, BoxBranch) or not isinstance(head, TwoLayerHead) or detector.pooler.has_stage:
        raise InputError(f"{checkpoint}: its box head has no two fully connected layers to truncate")
    if head.svd_ranks:
        raise InputError(f"{checkpoint}: is compressed already; start from the checkpoint that it was made from")
    channels, size = detector.backbone.region_channels, branch.pooled_size
    pooled = torch.rand(regions, channels, size, size)
    console = Console()
    before = _measured(branch.head, pooled, console)
    with at_work("decomposing fc6 and fc7", console):
        truncate(branch.head, (ranks[0], ranks[1]))
    after = _measured(branch.head, pooled, console)
    settings = replace(branch.settings, head=replace(head, svd_ranks=(ranks[0], ranks[1])))
    detector.save_hyperparameters({**detector.init_args, "box": to_plain(settings)})
    save_detector(detector, out)
    _print_comparison(before, after, regions, console)


def _measured(head: nn.Module, pooled: Tensor, console: Console) -> tuple[float, float]:
    """Return the parameters in millions and the median time in milliseconds."""
    times = []
    with torch.inference_mode():
        for _ in track(range(_REPEATS + 1), "timing, turns", console):
            start = perf_counter()
            head(pooled)
            times.append(1000 * (perf_counter() - start))
    return sum(parameter.numel() for parameter in head.parameters()) / 1e6, median(times[1:])


def _print_comparison(before: tuple[float, float], after: tuple[float, float], regions: int, console: Console) -> None:
    table = Table(title=f"fc6 and fc7 on {regions} regions")
    for heading in ("", "parameters, millions", "ms"):
        table.add_column(heading, justify="right")
    for name, (parameters, time) in (("whole", before), ("truncated", after)):
        table.add_row(name, f"{parameters:.2f}", f"{time:.1f}")
    console.print(table)
    console.print(f"{before[1] / after[1]:.1f} times as fast, {before[0] / after[0]:.1f} times as small")
