"""The tables of a report: columns and rows of plain values."""

import math
from collections.abc import Mapping
from typing import Any

from lightning_rcnn.evaluation.analysis.analysis import Analysis
from lightning_rcnn.evaluation.analysis.costs import ERRORS, MISSED
from lightning_rcnn.evaluation.coco_ap import AREAS
from lightning_rcnn.pages.tables import number_column, table, text_column

MOST_IMAGES = 500
MOST_CONFUSIONS = 500
_WRONG = tuple(name for name in ERRORS if name != MISSED)
_MEANINGS = {
    "class": "On an object of another class",
    "location": "Right class, IoU from 0.1 to 0.5",
    "both": "Wrong class and IoU below 0.5",
    "duplicate": "On an object that a better detection is matched to",
    "background": "On no object (IoU up to 0.1)",
    "missed": "Objects that no detection finds, even with its class or location fixed",
}


def tables(analysis: Analysis, figures: Mapping[str, Any], file_names: Mapping[int, str]) -> dict[str, dict[str, Any]]:
    """Build all tables, by the name of their element.

    Args:
        analysis: analysis of an evaluation.
        figures: COCO's figures, such as `APs`.
        file_names: image id -> name; may lack some.
    """
    return {
        "errors": table(
            [
                text_column("error", "Kind of error"),
                number_column("AP50 cost", 1, "Points"),
                number_column("count"),
                text_column("meaning"),
            ],
            [[name, 100 * error.ap50, error.count, _MEANINGS[name]] for name, error in analysis.errors.items()],
        ),
        "classes": _classes(analysis),
        "sizes": table(
            [
                text_column("size"),
                number_column("AP", 1),
                number_column("objects"),
                number_column("found"),
                number_column("recall", 3),
            ],
            [
                [
                    name,
                    points(figures.get(f"AP{AREAS[name]}")),
                    size.num_objects,
                    size.found,
                    size.found / size.num_objects if size.num_objects else None,
                ]
                for name, size in analysis.sizes.items()
            ],
        ),
        "confusions": table(
            [text_column("object"), text_column("detected as"), number_column("count")],
            [
                [one.actual or "no object", one.predicted or "missed", one.count]
                for one in analysis.confusions
                if one.actual != one.predicted
            ][:MOST_CONFUSIONS],
        ),
        "images": _images(analysis, file_names),
    }


def _classes(analysis: Analysis) -> dict[str, Any]:
    columns = [
        text_column("name"),
        number_column("lost", 2, "Points of mean AP50 that are lost to the class"),
        number_column("AP50", 1),
        number_column("objects"),
        number_column("found"),
        number_column("missed"),
        *(number_column(name, 0, _MEANINGS[name]) for name in _WRONG),
        text_column("costliest", "Kind of error that costs the class most AP50"),
        number_column("points", 1, "Points of the AP50 of the class that this kind costs"),
        number_column("detections", 0, "Of any score"),
        number_column("threshold", 3, "With the best F1 of the class alone"),
        number_column("F1", 3),
        number_column("precision", 3),
        number_column("recall", 3),
    ]
    rows = []
    for one in analysis.classes:
        costliest = max(one.costs, key=lambda name: one.costs[name]) if any(one.costs.values()) else None
        rows.append(
            [
                one.name,
                100 * one.lost,
                points(one.ap50),
                one.num_objects,
                one.found,
                one.missed,
                *(one.errors[name] for name in _WRONG),
                costliest,
                100 * one.costs[costliest] if costliest else None,
                one.num_detections,
                *((one.best.score, one.best.f1, one.best.precision, one.best.recall) if one.best else [None] * 4),
            ]
        )
    return table(columns, rows)


def _images(analysis: Analysis, file_names: Mapping[int, str]) -> dict[str, Any]:
    columns = [
        text_column("image"),
        number_column("error", 2, "Sum of squared score errors"),
        number_column("AP50", 1, "Mean over the classes of its objects"),
        number_column("objects"),
        number_column("found"),
        number_column("missed"),
        *(number_column(name, 0, _MEANINGS[name]) for name in _WRONG),
    ]
    rows = [
        [
            file_names.get(one.image_id) or f"image {one.image_id}",
            one.cost,
            points(one.ap50),
            one.num_objects,
            one.found,
            one.num_objects - one.found,
            *(one.errors[name] for name in _WRONG),
            one.image_id,  # without a column: the page finds the image of its gallery by it
        ]
        for one in analysis.images[:MOST_IMAGES]
    ]
    return table(columns, rows)


def points(share: float | None) -> float | None:
    """Turn a figure into points of 100; None if there is none."""
    return None if share is None or math.isnan(share) else 100 * share
