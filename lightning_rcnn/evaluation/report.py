"""Metrics as tables for the screen and as JSON for programs."""

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Group
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from lightning_rcnn.evaluation.analysis.analysis import Analysis
from lightning_rcnn.evaluation.coco_ap import LVIS, MAX_DETECTIONS, PER_CLASS, RULES, SETTINGS
from lightning_rcnn.evaluation.mean_losses import TOTAL
from lightning_rcnn.evaluation.voc_ap import ELEVEN_POINT, PER_CLASS_11_POINT
from lightning_rcnn.files import atomic_write

_CLASSES_IN_A_ROW = 3


def metrics_tables(metrics: Mapping[str, Mapping[str, Any]], title: str = "") -> Group:
    """Return tables of all metrics: COCO's or LVIS's per result type, AP per class, VOC's, and proposal recall.

    Args:
        metrics: result type -> its metrics: `bbox` and perhaps `segm` of `CocoAveragePrecision`, perhaps `voc` of
            `VOCAveragePrecision`, `proposals` of `ProposalRecall` and `losses` of `MeanLosses`.
        title: heading above the tables.
    """
    coco = {name: figures for name, figures in metrics.items() if MAX_DETECTIONS in figures}
    voc = {name: figures for name, figures in metrics.items() if PER_CLASS_11_POINT in figures}
    limits = dict.fromkeys(figures[MAX_DETECTIONS] for figures in coco.values())
    tables = [
        _coco_table({name: figures for name, figures in coco.items() if figures[MAX_DETECTIONS] == limit}, limit)
        for limit in limits
    ]
    for name, figures in coco.items():
        if figures[PER_CLASS]:
            tables.append(_class_table(f"{name} AP of", {"": figures[PER_CLASS]}))
    for name, figures in voc.items():
        tables += _voc_tables(name, figures)
    others = {name: figures for name, figures in metrics.items() if name not in {*coco, *voc}}
    for name, figures in others.items():
        tables.append(_loss_table(figures) if TOTAL in figures else _proposal_table(name, figures))
    heading = [Text(title, style="bold")] if title else []
    return Group(*heading, *(part for table in tables for part in (table, "")))


def analysis_tables(analysis: Analysis, sentences: Sequence[str]) -> Group:
    """Show the cost of each kind of error, and sentences below.

    Args:
        analysis: analysis of an evaluation.
        sentences: what `findings` returned.
    """
    table = _table()
    table.title = "errors of masks" if analysis.result_type == "segm" else "errors of boxes"
    table.title_justify = "left"
    for heading in ("error", "AP50 cost", "count"):
        table.add_column(heading, justify="left" if heading == "error" else "right")
    for name, error in analysis.errors.items():
        table.add_row(name, _text(error.ap50), str(error.count))
    best = analysis.best
    threshold = (
        f"Best F1 {best.f1:.3f} at a score of {best.score:.3f} (precision {best.precision:.3f}, recall "
        f"{best.recall:.3f})."
        if best
        else "No threshold is best: there is no true positive."
    )
    return Group(table, "", *(Text(f"- {sentence}") for sentence in [*sentences, threshold]), "")


def write_metrics(path: Path, metrics: Mapping[str, Any], epoch: int | None, step: int | None) -> None:
    """Write the metrics as JSON, with `epoch` and `step` beside them; the file appears only when whole.

    Args:
        path: the file; its folder is created.
        metrics: nested mappings of numbers; NaN becomes null.
        epoch, step: epoch and step of the training; None outside of a training.
    """
    content = {**_without_nan(metrics), "epoch": epoch, "step": step}
    with atomic_write(path) as file:
        file.write((json.dumps(content, indent=2, allow_nan=False) + "\n").encode())


def _coco_table(coco: Mapping[str, Mapping[str, Any]], max_detections: int) -> Table:
    """Return one row for each result type; all share the limit of detections in the name `AR100`."""
    table = _table()
    # In the caption: 80 columns have no room for it.
    first, *_ = coco.values()
    table.caption = f"maxDets {max_detections}: the best {max_detections} detections of an image count"
    if first[RULES] == LVIS:
        table.caption += "; LVIS's rules: a class counts in the images that were looked through for it"
    table.caption_justify = "left"
    table.add_column("")
    names = [name for name in first if name not in (PER_CLASS, *SETTINGS)]
    for name in names:
        table.add_column(name, justify="right")
    for result_type, figures in coco.items():
        table.add_row(result_type, *(_text(figures[name]) for name in names))
    return table


def _voc_tables(name: str, figures: Mapping[str, Any]) -> list[Table]:
    """Return the mean over all classes and the value of each class, by area and by eleven points."""
    figure, *_ = figures
    mean = _table()
    for heading in (name, "area", "11-point"):
        mean.add_column(heading, justify="left" if heading == name else "right")
    mean.add_row(figure, _text(figures[figure]), _text(figures[figure + ELEVEN_POINT]))
    per_class = {"area": figures[PER_CLASS], "11-pt": figures[PER_CLASS_11_POINT]}
    return [mean, _class_table(f"{name} {figure} of", per_class)]


def _class_table(heading: str, per_class: Mapping[str, Mapping[str, float]]) -> Table:
    """Return a table of classes and their metrics, several classes in a row, sorted down the columns.

    Args:
        heading: heading of the columns with class names.
        per_class: heading of a column -> class name -> value.
    """
    names = list(next(iter(per_class.values())))
    cells = [(escape(name), *(_text(values[name]) for values in per_class.values())) for name in names]
    num_rows = math.ceil(len(cells) / _CLASSES_IN_A_ROW)
    table = _table()
    for _ in cells[::num_rows]:
        table.add_column(heading, overflow="fold")
        for column in per_class:
            table.add_column(column, justify="right")
    for row in range(num_rows):
        table.add_row(*(text for part in cells[row::num_rows] for text in part))
    return table


def _proposal_table(name: str, figures: Mapping[str, float]) -> Table:
    """Return a table with metrics as rows and numbers of proposals as columns: `AR@100` is row AR, column 100."""
    rows: dict[str, dict[str, float]] = {}
    for key, value in figures.items():
        figure, _, limit = key.partition("@")
        rows.setdefault(figure, {})[limit] = value
    table = _table()
    table.add_column(name)
    for limit in next(iter(rows.values()), {}):
        table.add_column(f"@{limit}", justify="right")
    for figure, values in rows.items():
        table.add_row(figure, *map(_text, values.values()))
    return table


def _loss_table(losses: Mapping[str, float]) -> Table:
    """Return the losses in one row, without the beginning that their names share."""
    table = _table()
    for name in losses:
        table.add_column(name.removeprefix("loss_"), justify="right")
    table.add_row(*map(_text, losses.values()))
    return table


def _table() -> Table:
    """Return an empty table, narrow enough for twelve numbers on 80 columns."""
    return Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), show_edge=False)


def _text(value: float) -> str:
    """Return a value in at most four characters: `.512`, `1.00`."""
    return "-" if math.isnan(value) else f"{value:.3f}".removeprefix("0")[:4]


def _without_nan(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _without_nan(inner) for key, inner in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value
