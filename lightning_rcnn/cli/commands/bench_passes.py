"""`lightning-rcnn bench passes`."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

from lightning_rcnn.backbones.plain import PlainBackbone, PlainName
from lightning_rcnn.bench.compare.comparison import curve_of
from lightning_rcnn.bench.report import write_report
from lightning_rcnn.cli.option_checks import require_positive
from lightning_rcnn.cli.output_paths import require_file
from lightning_rcnn.detectors.fast_rcnn import FastRCNN
from lightning_rcnn.detectors.given_proposals import GivenProposals
from lightning_rcnn.detectors.preprocessing import PreprocessingSettings
from lightning_rcnn.detectors.rcnn.fine_tuning import RCNNFineTuning
from lightning_rcnn.detectors.rcnn.rcnn import RegionSettings


def passes(
    backbone: PlainName = "alexnet",
    height: int = 600,
    width: int = 800,
    proposals: int = 500,
    region_size: int = 227,
    repeats: int = 3,
    seed: int = 0,
    json: Path | None = None,
) -> None:
    """Time Fast R-CNN, one pass of the network an image, against R-CNN, one pass a region.

    Both detectors have the same random weights and look at the same random proposals of one random image, in float32 on
    the CPU. "Network" is the convolutions, with R-CNN's warping of regions; "all" adds pooling, fully connected layers
    and suppression. The paper (table 4) reports a factor of 146 in all, for VGG16 and 2000 proposals.

    Args:
        backbone: backbone of both.
        height: height of the image as the networks see it, pixels.
        width: width of the image as the networks see it, pixels.
        proposals: limit of proposals in the image; smaller numbers are timed too.
        region_size: side of R-CNN's warped regions, pixels; the paper has 227.
        repeats: number of timed turns; medians are shown.
        seed: seed of weights and image.
        json: also write the figures to this file.
    """
    require_positive(height=height, width=width, proposals=proposals, region_size=region_size, repeats=repeats)
    if json is not None:
        require_file(json, "--json")
    torch.manual_seed(seed)
    shared: dict[str, Any] = {
        "proposals": GivenProposals(limit=proposals),
        "preprocessing": PreprocessingSettings(min_size=min(height, width), max_size=max(height, width)),
    }
    fast_rcnn = FastRCNN(["object"], backbone=PlainBackbone(backbone), **shared).eval()
    regions = RegionSettings(size=region_size)
    rcnn = RCNNFineTuning(["object"], backbone=PlainBackbone(backbone), regions=regions, **shared).eval()
    rcnn.backbone.load_state_dict(fast_rcnn.backbone.state_dict())
    rcnn.box_head.load_state_dict(fast_rcnn.get_submodule("box.head").state_dict())
    image = torch.randint(0, 256, (3, height, width), dtype=torch.uint8)
    console = Console()
    curve = curve_of(rcnn, fast_rcnn, image, console, repeats)
    title = f"{backbone}, {height} x {width}, regions of {region_size}, {torch.get_num_threads()} threads"
    table = Table(title=title)
    for heading in ("proposals", "R-CNN network", "Fast network", "ratio", "R-CNN all", "Fast all", "ratio "):
        table.add_column(heading, justify="right")
    for point in curve:
        cells = [str(point.num_proposals)]
        for times in (point.network_ms, point.total_ms):
            cells += [f"{times['rcnn']:.0f} ms", f"{times['fast_rcnn']:.0f} ms"]
            cells += [f"{times['rcnn'] / times['fast_rcnn']:.1f}"]
        table.add_row(*cells)
    console.print(table)
    write_report(json, title, torch.device("cpu"), {"proposals": [asdict(point) for point in curve]})
