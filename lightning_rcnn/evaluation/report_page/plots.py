"""The plots of a report."""

from collections.abc import Sequence

import numpy as np
from matplotlib import rcParams
from matplotlib.axes import Axes

from lightning_rcnn.evaluation.analysis.analysis import Analysis, Confusion
from lightning_rcnn.pages.charts import BLUE, GRAY, GREEN, ORANGE, shortened, svg_chart

MOST_CURVES = 6
"""Number of classes with their own precision-recall curve: those with the largest losses."""
MOST_CONFUSED = 16
"""Number of classes in the confusion matrix: those with most errors."""


def errors_plot(analysis: Analysis) -> str:
    """Draw the cost of each kind of error."""

    def draw(axes: Axes) -> None:
        names = list(analysis.errors)[::-1]
        bars = axes.barh(names, [100 * analysis.errors[name].ap50 for name in names], color=ORANGE)
        axes.bar_label(bars, fmt="%.1f", padding=3)
        axes.set_xlabel("cost in points of AP50")
        axes.margins(x=0.12)

    return svg_chart(analysis.result_type, draw, "Cost of each kind of error", (5.6, 2.9))


def precision_recall_plot(analysis: Analysis) -> str:
    """Draw the mean curve, and those of the classes with the largest losses."""

    def draw(axes: Axes) -> None:
        recalls = np.linspace(0, 1, len(analysis.precisions))
        curves = [one.name for one in analysis.classes if one.name in analysis.precisions_of_classes]
        if len(curves) > 1:
            for name in curves[:MOST_CURVES]:
                axes.plot(recalls, analysis.precisions_of_classes[name], linewidth=1, label=shortened(name))
        # In the color of the text, as the classes take all others.
        ink = rcParams["text.color"]
        axes.plot(recalls, analysis.precisions, color=ink, linewidth=2.5, label="mean of all classes")
        axes.set(xlabel="recall", ylabel="precision", xlim=(0, 1), ylim=(0, 1.03), title="Precision by recall")
        if analysis.precisions:
            axes.legend(frameon=False, fontsize=8, loc="upper left", bbox_to_anchor=(1, 1))

    return svg_chart(analysis.result_type, draw, "Precision by recall", (6.4, 3.6))


def sweep_plot(analysis: Analysis) -> str:
    """Draw precision, recall and F1 by threshold."""

    def draw(axes: Axes) -> None:
        sweep = analysis.sweep
        precision = [np.nan if value is None else value for value in sweep.precision]
        axes.plot(sweep.scores, precision, color=BLUE, label="precision")
        axes.plot(sweep.scores, sweep.recall, color=GREEN, label="recall")
        axes.plot(sweep.scores, sweep.f1, color=ORANGE, linewidth=2.5, label="F1")
        if analysis.best:
            axes.axvline(analysis.best.score, color=GRAY, linestyle=":", label=f"best, {analysis.best.score:.2f}")
        axes.set(xlabel="threshold", xlim=(0, 1), ylim=(0, 1.03), title="By threshold")
        axes.legend(frameon=False, fontsize=8, loc="upper left", bbox_to_anchor=(1, 1))

    return svg_chart(analysis.result_type, draw, "Precision, recall and F1 by threshold", (6.4, 3.6))


def calibration_plot(analysis: Analysis) -> str:
    """Draw precision by score."""

    def draw(axes: Axes) -> None:
        edges = np.linspace(0, 1, len(analysis.calibration) + 1)
        shares = [part.precision for part in analysis.calibration]
        bars = axes.bar(edges[:-1], shares, width=np.diff(edges) * 0.92, align="edge", color=BLUE, alpha=0.8)
        axes.bar_label(bars, [str(part.count or "") for part in analysis.calibration], fontsize=7, padding=2)
        axes.plot([0, 1], [0, 1], color=GRAY, linestyle="--", linewidth=1)
        title = f"Calibration: error {analysis.calibration_error:.3f}"
        axes.set(xlabel="score (number of detections above the bars)", ylabel="precision", title=title)
        axes.set(xlim=(0, 1), ylim=(0, 1.08))

    return svg_chart(analysis.result_type, draw, "Precision by score", (5.6, 3.6))


def confusion_plot(analysis: Analysis) -> str:
    """Draw the confusion matrix: a row per class of objects, colored by its shares."""
    names, table = confusion_table(analysis.confusions, MOST_CONFUSED)

    def draw(axes: Axes) -> None:
        shares = table / np.maximum(1, table.sum(1, keepdims=True))
        shown = np.ma.masked_equal(shares, 0)  # empty cells are transparent
        axes.pcolormesh(shown, cmap="Blues", vmin=0, vmax=1)
        axes.grid(which="minor", color=GRAY, alpha=0.25, linewidth=0.5)
        for row, column in zip(*np.nonzero(table), strict=True):
            color = "white" if shares[row, column] > 0.5 else "black"
            axes.text(column + 0.5, row + 0.5, str(table[row, column]), ha="center", va="center", color=color, size=8)
        places = np.arange(len(names)) + 0.5
        axes.set_xticks(np.arange(len(names) + 1), minor=True)
        axes.set_yticks(np.arange(len(names) + 1), minor=True)
        axes.tick_params(which="minor", length=0)
        axes.set_xticks(places, [shortened(name or "missed") for name in names], rotation=60, ha="right")
        axes.set_yticks(places, [shortened(name or "no object") for name in names])
        axes.set(xlabel="detected as", ylabel="object", aspect="equal")
        axes.invert_yaxis()

    side = 2.4 + 0.42 * len(names)
    return svg_chart(analysis.result_type, draw, "Confusion of classes", (side + 0.6, side))


def confusion_table(confusions: Sequence[Confusion], limit: int) -> tuple[list[str | None], np.ndarray]:
    """Build the matrix of the classes with most errors; the last row and column, None, are the background."""
    errors: dict[str, int] = {}
    for one in confusions:
        wrong = one.count if one.actual != one.predicted else 0
        for name in (one.actual, one.predicted):
            if name is not None:
                errors[name] = errors.get(name, 0) + wrong
    names: list[str | None] = [*sorted(errors, key=lambda name: -errors[name])[:limit], None]
    rows = {name: number for number, name in enumerate(names)}
    table = np.zeros((len(names), len(names)), dtype=np.int64)
    for one in confusions:
        if one.actual in rows and one.predicted in rows:
            table[rows[one.actual], rows[one.predicted]] += one.count
    return names, table
