"""The report of an evaluation: one self-contained HTML file that needs no network."""

import html
import json
import math
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from string import Template
from typing import Any

from lightning_rcnn.evaluation.analysis.analysis import Analysis
from lightning_rcnn.evaluation.analysis.collecting import WorstImage
from lightning_rcnn.evaluation.analysis.findings import findings
from lightning_rcnn.evaluation.report_page import plots
from lightning_rcnn.evaluation.report_page.gallery import gallery_entry
from lightning_rcnn.evaluation.report_page.tables import MOST_IMAGES, tables
from lightning_rcnn.files import atomic_write

REPORT = "report"
"""Name of its folder in the run's."""
PAGE, NUMBERS = "index.html", "analysis.json"
_HERE = Path(__file__).parent


def write_report(folder: Path, page: str, analysis: Analysis) -> Path:
    """Write a page and the analysis as JSON beside it; the files appear only when complete.

    Returns:
        Path of the page.
    """
    for name, text in ((NUMBERS, json.dumps(analysis.as_dict(), allow_nan=False)), (PAGE, page)):
        with atomic_write(folder / name) as file:
            file.write(text.encode())
    return folder / PAGE


def report_page(
    analysis: Analysis,
    metrics: Mapping[str, Mapping[str, Any]],
    worst: Sequence[WorstImage],
    file_names: Mapping[int, str],
    class_names: Sequence[str],
    title: str,
    subtitle: str = "",
) -> str:
    """Build the HTML of a report; all names are escaped.

    Args:
        analysis: analysis of an evaluation.
        metrics: COCO's figures under the analysis's result type, and perhaps `proposals`.
        worst: images of the gallery, the worst first.
        file_names: image id -> name; may lack some.
        class_names: names of labels 1..K.
        title, subtitle: heading.
    """
    best = analysis.best
    counted = (
        f"at the best threshold, {best.score:.3f}" if best else "without any detection, since no threshold is best"
    )
    num_wrong = len(analysis.images)
    listed = f"Listed are {MOST_IMAGES} of {num_wrong} images with errors." if num_wrong > MOST_IMAGES else ""
    content = {
        "headline": headline(analysis, metrics),
        "findings": findings(analysis, proposal_recall(metrics)),
        "tables": tables(analysis, metrics.get(analysis.result_type, {}), file_names),
        "gallery": [gallery_entry(image) for image in worst],
        "threshold": best.score if best else 0.5,
        "class_names": list(class_names),
    }
    return Template((_HERE / "page.html").read_text()).substitute(
        title=html.escape(title),
        subtitle=html.escape(subtitle),
        css=(_HERE / "page.css").read_text(),
        js=(_HERE / "page.js").read_text(),
        version=html.escape(version("lightning-rcnn")),
        counted=counted,
        listed=listed,
        errors_plot=plots.errors_plot(analysis),
        precision_recall_plot=plots.precision_recall_plot(analysis),
        sweep_plot=plots.sweep_plot(analysis),
        calibration_plot=plots.calibration_plot(analysis),
        confusion_plot=plots.confusion_plot(analysis),
        content=_in_script(content),
    )


def headline(analysis: Analysis, metrics: Mapping[str, Mapping[str, Any]]) -> list[tuple[str, str]]:
    """List the headline figures: name and value."""
    coco = metrics.get(analysis.result_type, {})
    kind = "mask" if analysis.result_type == "segm" else "box"
    figures = [
        (f"{kind} {name}", f"{100 * coco[name]:.1f}")
        for name in ("AP", "AP50", "AP75", "APs", "APm", "APl")
        if name in coco and not math.isnan(coco[name])
    ]
    if analysis.best:
        figures.append((f"best F1, threshold {analysis.best.score:.3f}", f"{analysis.best.f1:.3f}"))
    recall = proposal_recall(metrics)
    if recall is not None:
        figures.append(("objects with a proposal", f"{100 * recall:.1f} %"))
    counts = (
        ("images", analysis.num_images),
        ("objects", analysis.num_objects),
        ("detections", analysis.num_detections),
    )
    return [*figures, *((name, f"{number:,}") for name, number in counts)]


def proposal_recall(metrics: Mapping[str, Mapping[str, Any]]) -> float | None:
    """Return the recall of the largest number of proposals at IoU .5; None if unknown."""
    figures = metrics.get("proposals", {})
    limits = [int(name.removeprefix("R50@")) for name in figures if name.startswith("R50@")]
    recall = figures[f"R50@{max(limits)}"] if limits else math.nan
    return None if math.isnan(recall) else recall


def _in_script(content: Any) -> str:
    """Dump JSON that cannot end its script element."""
    text = json.dumps(content, allow_nan=False, ensure_ascii=True, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
