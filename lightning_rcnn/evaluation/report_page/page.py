"""The report of an evaluation: one self-contained HTML file that needs no network."""

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from string import Template
from typing import Any

from lightning_rcnn.evaluation.analysis.analysis import Analysis
from lightning_rcnn.evaluation.analysis.collecting import Analyzed
from lightning_rcnn.evaluation.analysis.findings import findings_of_each
from lightning_rcnn.evaluation.report_page import plots
from lightning_rcnn.evaluation.report_page.gallery import gallery_entry
from lightning_rcnn.evaluation.report_page.tables import MOST_IMAGES, tables
from lightning_rcnn.evaluation.scoring import RegionType
from lightning_rcnn.files import atomic_write
from lightning_rcnn.pages.page import build_page
from lightning_rcnn.pages.pictures import jpeg_address

REPORT = "report"
"""Name of its folder in the run's."""
PAGE, NUMBERS = "index.html", "analysis.json"
_TITLES: dict[RegionType, str] = {"segm": "Masks", "bbox": "Boxes"}
_HERE = Path(__file__).parent


def write_report(folder: Path, page: str, analyses: Iterable[Analysis]) -> Path:
    """Write a page, and beside it JSON of result type -> analysis; the files appear only when complete.

    Returns:
        Path of the page.
    """
    numbers = {analysis.result_type: analysis.as_dict() for analysis in analyses}
    for name, text in ((NUMBERS, json.dumps(numbers, allow_nan=False)), (PAGE, page)):
        with atomic_write(folder / name) as file:
            file.write(text.encode())
    return folder / PAGE


def report_page(
    analyzed: Mapping[RegionType, Analyzed],
    metrics: Mapping[str, Mapping[str, Any]],
    class_names: Sequence[str],
    title: str,
    subtitle: str = "",
) -> str:
    """Build the HTML of a report; all names are escaped.

    Args:
        analyzed: analyses of an evaluation, at least one; the first is shown first.
        metrics: COCO's figures under the analyses' result types, and perhaps `proposals`.
        class_names: names of labels 1..K.
        title, subtitle: heading.
    """
    sentences = findings_of_each({kind: one.analysis for kind, one in analyzed.items()}, proposal_recall(metrics))
    images = {image.image_id: image for one in analyzed.values() for image in one.worst}
    pictures = {image_id: number for number, image_id in enumerate(images)}
    content = {
        "class_names": list(class_names),
        # Both galleries may show an image; its pixels are there once.
        "pictures": [image.jpeg and jpeg_address(image.jpeg) for image in images.values()],
        "parts": [
            {
                "name": kind,
                "title": _TITLES[kind],
                "headline": headline(one.analysis, metrics),
                "findings": sentences[kind],
                "tables": tables(one.analysis, metrics.get(kind, {}), one.file_names),
                "gallery": [{**gallery_entry(image), "picture": pictures[image.image_id]} for image in one.worst],
                "threshold": one.analysis.best.score if one.analysis.best else 0.5,
            }
            for kind, one in analyzed.items()
        ],
    }
    parts = {"first": next(iter(analyzed)), "parts": "".join(_part(one.analysis) for one in analyzed.values())}
    return build_page(_HERE, title, subtitle, content, parts)


def _part(analysis: Analysis) -> str:
    """Build the HTML of one analysis, which the page's script fills."""
    best = analysis.best
    num_wrong = len(analysis.images)
    return Template((_HERE / "part.html").read_text()).substitute(
        part=analysis.result_type,
        counted=f"at the best threshold, {best.score:.3f}"
        if best
        else "without any detection, since no threshold is best",
        listed=f"Listed are {MOST_IMAGES} of {num_wrong} images with errors." if num_wrong > MOST_IMAGES else "",
        errors_plot=plots.errors_plot(analysis),
        precision_recall_plot=plots.precision_recall_plot(analysis),
        sweep_plot=plots.sweep_plot(analysis),
        calibration_plot=plots.calibration_plot(analysis),
        confusion_plot=plots.confusion_plot(analysis),
    )


def headline(analysis: Analysis, metrics: Mapping[str, Mapping[str, Any]]) -> list[tuple[str, str]]:
    """List the headline figures: name and value."""
    coco = metrics.get(analysis.result_type, {})
    kind = "mask" if analysis.result_type == "segm" else "box"
    figures = [
        (f"{kind} {name}", f"{100 * coco[name]:.1f}")
        for name in ("AP", "AP50", "AP75", "APs", "APm", "APl", "APr", "APc", "APf")
        if name in coco and not math.isnan(coco[name])
    ]
    if analysis.best:
        figures.append((f"best F1, threshold {analysis.best.score:.3f}", f"{analysis.best.f1:.3f}"))
    recall = proposal_recall(metrics)
    if recall is not None:
        figures.append(("objects with a proposal", f"{100 * recall:.1f}%"))
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
