"""The figures of each detector, as a table and as JSON."""

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
from lightning_rcnn.bench.report import write_report
from lightning_rcnn.bench.timing import take_turns
from lightning_rcnn.detectors.base import Detector
from lightning_rcnn.detectors.costs import Cost, cost_of, cost_of_image
from lightning_rcnn.detectors.inference import inputs_of
from lightning_rcnn.detectors.rcnn.rcnn import RCNN
from lightning_rcnn.structures import Inputs, Proposals

CURVE = (10, 30, 100, 200, 500, 1000, 2000)
"""Numbers of proposals at which R-CNN and Fast R-CNN are timed, if below their limit; the limit is timed too."""


@dataclass(frozen=True)
class Row:
    """Figures of one detector.

    Attributes:
        name, key: name and key of its recipe.
        ap, ap50: COCO's AP and AP50 of boxes.
        voc_ap: VOC's AP by area.
        mask_ap, keypoint_ap: COCO's AP of masks and of keypoints; None without them.
        training_seconds: training time without validation and without selective search.
        proposals_ms, network_ms, heads_ms: milliseconds for one image, medians over the timed images.
        passes: passes of the network for one image, the median.
    """

    name: str
    key: str
    ap: float
    ap50: float
    voc_ap: float
    mask_ap: float | None
    keypoint_ap: float | None
    training_seconds: float
    proposals_ms: float
    network_ms: float
    heads_ms: float
    passes: float


@dataclass(frozen=True)
class Point:
    """Milliseconds for one image with a number of proposals: the network alone, and network and heads."""

    num_proposals: int
    network_ms: dict[str, float]
    total_ms: dict[str, float]


def row_of(name: str, key: str, trained: Trained, timed_images: Sequence[Tensor]) -> Row:
    """Measure one detector; `timed_images` are uint8 images [3, H, W]."""
    cost_of_image(trained.detector, timed_images[0])  # warm-up
    costs = [cost_of_image(trained.detector, image) for image in timed_images]
    metrics = trained.metrics
    return Row(
        name,
        key,
        ap=metrics["bbox"]["AP"],
        ap50=metrics["bbox"]["AP50"],
        voc_ap=metrics["voc"]["AP50"],
        mask_ap=metrics["segm"]["AP"] if "segm" in metrics else None,
        keypoint_ap=metrics["keypoints"]["AP"] if "keypoints" in metrics else None,
        training_seconds=trained.seconds,
        proposals_ms=_median_ms([cost.proposals for cost in costs]),
        network_ms=_median_ms([cost.network for cost in costs]),
        heads_ms=_median_ms([cost.heads for cost in costs]),
        passes=statistics.median(cost.passes for cost in costs),
    )


def curve_of(rcnn: RCNN, fast_rcnn: Detector, image: Tensor, console: Console, repeats: int = 3) -> list[Point]:
    """Time R-CNN and Fast R-CNN with growing numbers of proposals.

    Args:
        rcnn, fast_rcnn: detectors, trained or not.
        image: uint8 [3, H, W]; the proposals are random boxes on it.
        console: where progress is shown.
        repeats: number of turns whose median is taken.
    """
    limit = min(rcnn.proposal_limit, fast_rcnn.proposal_limit)
    numbers = [*(number for number in CURVE if number < limit), limit]
    detectors: dict[str, Detector] = {"rcnn": rcnn, "fast_rcnn": fast_rcnn}
    cases = [(key, number) for number in numbers for key in detectors]

    def measure(case: tuple[str, int]) -> Cost:
        detector = detectors[case[0]]
        return cost_of(detector, _with_random_proposals(detector, image, case[1]))

    costs = dict(zip(cases, take_turns(cases, measure, repeats, console, warm_up=0), strict=True))
    return [
        Point(
            number,
            network_ms={key: _median_ms([cost.network for cost in costs[key, number]]) for key in detectors},
            total_ms={key: _median_ms([cost.network + cost.heads for cost in costs[key, number]]) for key in detectors},
        )
        for number in numbers
    ]


def table_of(rows: Sequence[Row]) -> Table:
    """Lay the figures out; AP of masks and keypoints have a column where a detector has them."""
    table = Table(title="minutes of training, and milliseconds for one image", box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column("", min_width=12)
    scores: dict[str, list[float | None]] = {
        "AP": [row.ap for row in rows],
        "AP50": [row.ap50 for row in rows],
        "VOC AP": [row.voc_ap for row in rows],
        "masks": [row.mask_ap for row in rows],
        "keypoints": [row.keypoint_ap for row in rows],
    }
    shown = {heading: column for heading, column in scores.items() if any(value is not None for value in column)}
    for heading in (*shown, "train", "proposals", "network", "heads", "passes"):
        table.add_column(heading, justify="right")
    for number, row in enumerate(rows):
        table.add_row(
            row.name,
            *(_score(column[number]) for column in shown.values()),
            f"{row.training_seconds / 60:.1f}",
            *(f"{value:.0f}" for value in (row.proposals_ms, row.network_ms, row.heads_ms, row.passes)),
        )
    return table


def _score(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}".lstrip("0")


def write_json(path: Path, rows: Sequence[Row], curve: Sequence[Point], settings: dict[str, Any]) -> None:
    """Write all figures with the settings that they were measured under."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    detectors, proposals = [asdict(row) for row in rows], [asdict(point) for point in curve]
    figures = {"settings": settings, "detectors": detectors, "proposals": proposals}
    write_report(path, ", ".join(row.name for row in rows), device, figures)


def _median_ms(seconds: Sequence[float]) -> float:
    return 1000 * statistics.median(seconds)


def _with_random_proposals(detector: Detector, image: Tensor, number: int) -> Inputs:
    """Prepare an image for the detector, with `number` random boxes of all sizes."""
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
