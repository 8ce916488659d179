"""The chart of the comparison: AP, time by part, and time by number of proposals."""

from collections.abc import Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from lightning_rcnn.bench.compare.comparison import Point, Row

PROPOSALS, NETWORK, HEADS = "#4c78a8", "#f58518", "#54a24b"
PALE = "#d5d9df"


def draw(path: Path, rows: Sequence[Row], curve: Sequence[Point], title: str) -> None:
    """Write a PNG with the AP of each detector, where its time goes, and what one pass an image gains.

    Args:
        path: PNG file.
        rows: figures of the detectors.
        curve: times of R-CNN and Fast R-CNN by number of proposals; empty leaves that panel out.
        title: title of the figure.
    """
    num_panels = 3 if curve else 2
    figure = Figure(figsize=(max(5.0, 1.25 * len(rows)) * num_panels, 5), layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(1, num_panels)
    _draw_scores(panels[0], rows)
    _draw_times(panels[1], rows)
    if curve:
        _draw_curve(panels[2], curve)
    figure.suptitle(title)
    figure.savefig(path, dpi=120)


def _draw_scores(axes: Axes, rows: Sequence[Row]) -> None:
    for shift, (name, values, color) in enumerate(
        (
            ("AP50", [row.ap50 for row in rows], PALE),
            ("VOC AP", [row.voc_ap for row in rows], NETWORK),
            ("AP", [row.ap for row in rows], PROPOSALS),
        )
    ):
        positions = [position + 0.27 * (shift - 1) for position in range(len(rows))]
        bars = axes.bar(positions, values, 0.26, label=name, color=color)
        axes.bar_label(bars, fmt=lambda value: f"{value:.2f}".lstrip("0"), fontsize=8)
    axes.set_xticks(range(len(rows)), [_in_lines(row.name) for row in rows])
    axes.set_ylim(0, 1)
    axes.set_title("AP of boxes after equal training time")
    axes.legend(ncols=3, frameon=False, loc="upper left")
    _plain(axes)


def _draw_times(axes: Axes, rows: Sequence[Row]) -> None:
    parts = (
        ("proposals", [row.proposals_ms for row in rows], PROPOSALS),
        ("network", [row.network_ms for row in rows], NETWORK),
        ("heads", [row.heads_ms for row in rows], HEADS),
    )
    for shift, (name, values, color) in enumerate(parts):
        positions = [position + 0.27 * (shift - 1) for position in range(len(rows))]
        bars = axes.bar(positions, [max(value, 1e-1) for value in values], 0.26, label=name, color=color)
        axes.bar_label(bars, labels=[f"{value:.0f}" for value in values], fontsize=8)
    axes.set_xticks(range(len(rows)), [f"{_in_lines(row.name)}\n{_passes(row)}" for row in rows])
    axes.set_yscale("log")
    axes.set_title("milliseconds for one image")
    axes.legend(ncols=3, frameon=False, loc="upper right")
    axes.margins(y=0.2)
    _plain(axes)


def _draw_curve(axes: Axes, curve: Sequence[Point]) -> None:
    numbers = [point.num_proposals for point in curve]
    for key, name, color in (("rcnn", "R-CNN", NETWORK), ("fast_rcnn", "Fast R-CNN", PROPOSALS)):
        axes.plot(numbers, [point.network_ms[key] for point in curve], "o-", color=color, label=f"{name}, network")
        totals = [point.total_ms[key] for point in curve]
        axes.plot(numbers, totals, "o--", color=color, alpha=0.5, label=f"{name}, with heads")
    for point in curve:
        ratio = point.network_ms["rcnn"] / point.network_ms["fast_rcnn"]
        position = (point.num_proposals, point.network_ms["rcnn"])
        axes.annotate(f"{ratio:.0f}x", position, (0, 6), textcoords="offset points", ha="center", fontsize=8)
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.margins(y=0.15)
    axes.set_xlabel("proposals")
    axes.set_title("milliseconds for one image: one pass an image, or one a region")
    axes.legend(frameon=False)
    _plain(axes)


def _in_lines(name: str) -> str:
    return name.replace(" (", "\n(").replace(" R-CNN", "\nR-CNN")


def _passes(row: Row) -> str:
    return "1 pass" if row.passes == 1 else f"{row.passes:.0f} passes"


def _plain(axes: Axes) -> None:
    axes.spines[["top", "right"]].set_visible(False)
