"""What is measured of each detector, as a table and as JSON."""

import json
import platform
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from torch import Tensor

from lightning_rcnn.bench.compare.training import Trained
from lightning_rcnn.detectors.base import Detector
from lightning_rcnn.detectors.costs import cost_of, cost_of_image
from lightning_rcnn.detectors.inference import inputs_of
from lightning_rcnn.detectors.rcnn.rcnn import RCNN
from lightning_rcnn.progress import track
from lightning_rcnn.structures import Inputs, Proposals

CURVE = (10, 30, 100, 200, 500, 1000, 2000)
"""Numbers of proposals at which the first two detectors are timed, below the number that they look at, and at that."""


@dataclass(frozen=True)
class Row:
    """One detector.

    Attributes:
        name, key: as in its recipe.
        ap, ap50: COCO's, of boxes; voc_ap: VOC's by area; mask_ap: COCO's of masks, None without them.
        training_seconds: without validation, and without the making of proposals.
        proposals_ms, network_ms, heads_ms: medians over the images looked at, one at a time.
        passes: of the network, the median.
    """

    name: str
    key: str
    ap: float
    ap50: float
    voc_ap: float
    mask_ap: float | None
    training_seconds: float
    proposals_ms: float
    network_ms: float
    heads_ms: float
    passes: float


@dataclass(frozen=True)
class Point:
    """Milliseconds for one image with so many proposals: of the network alone, and of network and heads."""

    num_proposals: int
    network_ms: dict[str, float]
    total_ms: dict[str, float]


def row_of(name: str, key: str, trained: Trained, looked_at: Sequence[Tensor]) -> Row:
    """The figures of one detector; `looked_at` are uint8 images [3, H, W] on which it is timed."""
    cost_of_image(trained.detector, looked_at[0])  # what happens only once is not counted
    costs = [cost_of_image(trained.detector, image) for image in looked_at]
    metrics = trained.metrics
    return Row(
        name,
        key,
        ap=metrics["bbox"]["AP"],
        ap50=metrics["bbox"]["AP50"],
        voc_ap=metrics["voc"]["AP50"],
        mask_ap=metrics["segm"]["AP"] if "segm" in metrics else None,
        training_seconds=trained.seconds,
        proposals_ms=_median_ms([cost.proposals for cost in costs]),
        network_ms=_median_ms([cost.network for cost in costs]),
        heads_ms=_median_ms([cost.heads for cost in costs]),
        passes=statistics.median(cost.passes for cost in costs),
    )


def curve_of(rcnn: RCNN, fast_rcnn: Detector, image: Tensor, console: Console, repeats: int = 3) -> list[Point]:
    """How the two detectors on given proposals slow down with their number.

    Args:
        rcnn, fast_rcnn: trained or not; their weights do not matter.
        image: uint8 [3, H, W]; the proposals are random boxes on it.
        console: where progress is shown.
        repeats: of which the median is taken.
    """
    limit = min(rcnn.proposal_limit, fast_rcnn.proposal_limit)
    points = []
    for number in track([*(number for number in CURVE if number < limit), limit], "timing, steps", console):
        costs = {
            key: [cost_of(detector, _with_random_proposals(detector, image, number)) for _ in range(repeats)]
            for key, detector in (("rcnn", rcnn), ("fast_rcnn", fast_rcnn))
        }
        points.append(
            Point(
                number,
                network_ms={key: _median_ms([cost.network for cost in own]) for key, own in costs.items()},
                total_ms={key: _median_ms([cost.network + cost.heads for cost in own]) for key, own in costs.items()},
            )
        )
    return points


def table_of(rows: Sequence[Row]) -> Table:
    """For people, 80 characters wide."""
    table = Table(title="minutes of training, and milliseconds for one image", box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column("", min_width=12)
    for heading in ("AP", "AP50", "VOC AP", "train", "proposals", "network", "heads", "passes"):
        table.add_column(heading, justify="right")
    for row in rows:
        table.add_row(
            row.name,
            *(f"{value:.3f}".lstrip("0") for value in (row.ap, row.ap50, row.voc_ap)),
            f"{row.training_seconds / 60:.1f}",
            *(f"{value:.0f}" for value in (row.proposals_ms, row.network_ms, row.heads_ms, row.passes)),
        )
    return table


def write_json(path: Path, rows: Sequence[Row], curve: Sequence[Point], settings: dict[str, Any]) -> None:
    """Everything that was measured, and on what."""
    machine = {
        "processor": platform.processor() or platform.machine(),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
    }
    content = {
        "settings": settings,
        "machine": machine,
        "detectors": [asdict(row) for row in rows],
        "proposals": [asdict(point) for point in curve],
    }
    path.write_text(json.dumps(content, indent=2) + "\n")


def _median_ms(seconds: Sequence[float]) -> float:
    return 1000 * statistics.median(seconds)


def _with_random_proposals(detector: Detector, image: Tensor, number: int) -> Inputs:
    """An image as the detector looks at it, with so many boxes of all sizes."""
    search, detector.search = detector.search, None
    try:
        inputs = inputs_of(detector, [image])
    finally:
        detector.search = search
    height, width = inputs.image_sizes[0].tolist()
    corners = torch.rand(number, 2, 2, generator=torch.Generator().manual_seed(0)) * torch.tensor([width, height])
    boxes = torch.cat([corners.amin(1), corners.amax(1)], dim=1).to(detector.device)[None]
    scores = torch.zeros(1, number, device=detector.device)
    return inputs._replace(proposals=Proposals(boxes, scores, torch.ones_like(scores, dtype=torch.bool)))
