"""The tables of a report: columns and rows of plain values."""

import math
from collections.abc import Mapping
from typing import Any

from lightning_rcnn.evaluation.analysis.analysis import Analysis
from lightning_rcnn.evaluation.analysis.costs import ERRORS, MISSED
from lightning_rcnn.evaluation.coco_ap import AREAS

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
        "errors": _table(
            [_text("error", "Kind of error"), _number("AP50 cost", 1, "Points"), _number("count"), _text("meaning")],
            [[name, 100 * error.ap50, error.count, _MEANINGS[name]] for name, error in analysis.errors.items()],
        ),
        "classes": _classes(analysis),
        "sizes": _table(
            [_text("size"), _number("AP", 1), _number("objects"), _number("found"), _number("recall", 3)],
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
        "confusions": _table(
            [_text("object"), _text("detected as"), _number("count")],
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
        _text("name"),
        _number("lost", 2, "Points of mean AP50 that are lost to the class"),
        _number("AP50", 1),
        _number("objects"),
        _number("found"),
        _number("missed"),
        *(_number(name, 0, _MEANINGS[name]) for name in _WRONG),
        _text("costliest", "Kind of error that costs the class most AP50"),
        _number("points", 1, "Points of the AP50 of the class that this kind costs"),
        _number("detections", 0, "Of any score"),
        _number("threshold", 3, "With the best F1 of the class alone"),
        _number("F1", 3),
        _number("precision", 3),
        _number("recall", 3),
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
    return _table(columns, rows)


def _images(analysis: Analysis, file_names: Mapping[int, str]) -> dict[str, Any]:
    columns = [
        _text("image"),
        _number("error", 2, "Sum of squared score errors"),
        _number("AP50", 1, "Mean over the classes of its objects"),
        _number("objects"),
        _number("found"),
        _number("missed"),
        *(_number(name, 0, _MEANINGS[name]) for name in _WRONG),
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
    return _table(columns, rows)


def points(share: float | None) -> float | None:
    """Turn a figure into points of 100; None if there is none."""
    return None if share is None or math.isnan(share) else 100 * share


def _table(columns: list[dict[str, Any]], rows: list[list[Any]]) -> dict[str, Any]:
    rounded = [[round(value, 5) if isinstance(value, float) else value for value in row] for row in rows]
    return {"columns": columns, "rows": rounded}


def _text(name: str, title: str = "") -> dict[str, Any]:
    return {"name": name, "title": title, "text": True}


def _number(name: str, digits: int = 0, title: str = "") -> dict[str, Any]:
    return {"name": name, "title": title, "digits": digits}
