"""Compute the analysis from the verdicts of all images."""

from collections.abc import Mapping, Sequence

import numpy as np
from hotcoco.metrics import calibration_curve, calibration_error, precision_recall_curve

from lightning_rcnn.evaluation.analysis.analysis import (
    Analysis,
    CalibrationBin,
    ClassFigures,
    Confusion,
    ErrorCost,
    ImageFigures,
    SizeFigures,
    Sweep,
)
from lightning_rcnn.evaluation.analysis.costs import (
    ERRORS,
    MISSED,
    average_precisions,
    error_costs,
    image_average_precisions,
    missed_objects,
)
from lightning_rcnn.evaluation.analysis.tables import Tables, rows_of_groups, tabulate
from lightning_rcnn.evaluation.analysis.thresholds import best_threshold
from lightning_rcnn.evaluation.analysis.verdicts import ERROR_KINDS, Kind, Verdicts

RECALLS = 101
"""Number of points of a precision-recall curve, at recalls from 0 to 1."""
SIZES = {"small": (0.0, 32.0**2), "medium": (32.0**2, 96.0**2), "large": (96.0**2, 1e10)}
"""COCO's ranges of areas, in pixels."""
_BINS = 10
_SWEEP = np.linspace(0, 1, 101)


def analyze(images: Mapping[int, Verdicts], class_names: Sequence[str], result_type: str) -> Analysis:
    """Analyze the verdicts of all images.

    Args:
        images: image id -> verdicts.
        class_names: names of labels 1..K.
        result_type: "bbox" or "segm".
    """
    tables = tabulate(images)
    detections, objects = tables.detections, tables.objects
    scores, is_true = detections.scores[detections.counts], detections.is_true[detections.counts]
    best = best_threshold(scores, is_true, int(objects.is_scored.sum()))
    is_shown = detections.scores >= (best.score if best else np.inf)
    is_found = _found(tables, is_shown)
    has_objects = np.bincount(objects.labels[objects.is_scored], minlength=len(class_names) + 1)[1:] > 0
    costs = error_costs(tables, len(class_names))
    counts = {kind.name.lower(): int((detections.kinds == kind).sum()) for kind in ERROR_KINDS}
    counts[MISSED] = int(missed_objects(tables).sum())
    mean_costs = {name: max(0.0, _mean(costs[name][has_objects])) for name in ERRORS}
    curves = _curves(tables, class_names, has_objects)
    precisions = np.mean(list(curves.values()), axis=0).tolist() if curves else []
    average = average_precisions(tables, len(class_names))
    return Analysis(
        result_type=result_type,
        num_images=len(tables.image_ids),
        num_objects=int(objects.is_scored.sum()),
        num_detections=len(detections.scores),
        ap50=_mean(average[has_objects]) if has_objects.any() else None,
        best=best,
        errors={name: ErrorCost(counts[name], mean_costs[name]) for name in ERRORS},
        classes=_classes(tables, class_names, average, costs, is_shown, is_found),
        sizes=_sizes(tables, is_found),
        confusions=_confusions(tables, class_names, is_shown),
        precisions=precisions,
        precisions_of_classes=curves,
        calibration=[
            CalibrationBin(part["count"], part["avg_confidence"], part["avg_accuracy"])
            for part in calibration_curve(scores.clip(0, 1), is_true, _BINS)
        ],
        calibration_error=calibration_error(scores.clip(0, 1), is_true, _BINS)[0],
        sweep=_sweep(tables),
        images=_images(tables, len(class_names), is_shown, is_found),
    )


def _found(tables: Tables, is_shown: np.ndarray) -> np.ndarray:
    """Return a mask [G] of the scored objects with a true positive at the threshold."""
    return tables.objects.is_scored & np.append(is_shown, False)[tables.objects.found_by]


def _classes(
    tables: Tables,
    class_names: Sequence[str],
    average: np.ndarray,
    costs: Mapping[str, np.ndarray],
    is_shown: np.ndarray,
    is_found: np.ndarray,
) -> list[ClassFigures]:
    detections, objects = tables.detections, tables.objects
    size = len(class_names) + 1
    num_objects = np.bincount(objects.labels[objects.is_scored], minlength=size)[1:]
    num_detections = np.bincount(detections.labels, minlength=size)[1:]
    found = np.bincount(objects.labels[is_found], minlength=size)[1:]
    wrong = {
        kind.name.lower(): np.bincount(detections.labels[is_shown & (detections.kinds == kind)], minlength=size)[1:]
        for kind in ERROR_KINDS
    }
    num_scored = max(1, int((num_objects > 0).sum()))
    scores, is_true = detections.scores[detections.counts], detections.is_true[detections.counts]
    rows = rows_of_groups(detections.labels[detections.counts] - 1, len(class_names))
    figures = [
        ClassFigures(
            name=name,
            num_objects=int(num_objects[row]),
            num_detections=int(num_detections[row]),
            ap50=float(average[row]) if num_objects[row] else None,
            lost=float(1 - average[row]) / num_scored if num_objects[row] else 0.0,
            costs={kind: float(costs[kind][row]) for kind in ERRORS} if num_objects[row] else {},
            best=best_threshold(scores[rows[row]], is_true[rows[row]], int(num_objects[row])),
            found=int(found[row]),
            missed=int(num_objects[row] - found[row]),
            errors={kind: int(numbers[row]) for kind, numbers in wrong.items()},
        )
        for row, name in enumerate(class_names)
    ]
    return sorted(figures, key=lambda one: -one.lost)


def _sizes(tables: Tables, is_found: np.ndarray) -> dict[str, SizeFigures]:
    areas, is_scored = tables.objects.areas, tables.objects.is_scored
    sizes = {}
    for name, (least, most) in SIZES.items():
        is_size = is_scored & (areas >= least) & (areas <= most)
        sizes[name] = SizeFigures(int(is_size.sum()), int((is_size & is_found).sum()))
    return sizes


def _confusions(tables: Tables, class_names: Sequence[str], is_shown: np.ndarray) -> list[Confusion]:
    detections, objects = tables.detections, tables.objects
    lies_on = detections.regardless
    is_ignored = (lies_on >= 0) & ~np.append(objects.is_scored, False)[lies_on]
    is_ignored |= (detections.kinds == Kind.IGNORED) & (detections.objects < 0)  # of a class not annotated exhaustively
    shown = np.flatnonzero(is_shown & ~is_ignored)
    labels = np.append(objects.labels, 0)  # row -1 stands for no object
    is_missed = objects.is_scored.copy()
    is_missed[lies_on[shown][lies_on[shown] >= 0]] = False
    actual = np.concatenate([labels[lies_on[shown]], objects.labels[is_missed]])
    predicted = np.concatenate([detections.labels[shown], np.zeros(is_missed.sum(), dtype=np.int64)])
    pairs, counts = np.unique(np.stack([actual, predicted]), axis=1, return_counts=True)
    names = [None, *class_names]
    order = np.argsort(-counts, kind="stable")
    return [Confusion(names[pairs[0, i]], names[pairs[1, i]], int(counts[i])) for i in order]


def _curves(tables: Tables, class_names: Sequence[str], has_objects: np.ndarray) -> dict[str, list[float]]:
    detections, objects = tables.detections, tables.objects
    num_objects = np.bincount(objects.labels[objects.is_scored], minlength=len(class_names) + 1)
    counted = np.flatnonzero(detections.counts)
    counted = counted[np.argsort(-detections.scores[counted], kind="stable")]
    rows = rows_of_groups(detections.labels[counted] - 1, len(class_names))
    curves = {}
    for row in np.flatnonzero(has_objects).tolist():
        is_true = detections.is_true[counted[rows[row]]]
        _, points = precision_recall_curve(np.cumsum(is_true), np.cumsum(~is_true), int(num_objects[row + 1]))
        curve = [0.0] * RECALLS
        for recall, precision, _ in points:
            curve[recall] = precision
        curves[class_names[row]] = curve
    return curves


def _sweep(tables: Tables) -> Sweep:
    detections = tables.detections
    counts = detections.counts
    order = np.argsort(detections.scores[counts], kind="stable")
    scores, is_true = detections.scores[counts][order], detections.is_true[counts][order]
    # Numbers of detections and of true positives at each threshold.
    first = np.searchsorted(scores, _SWEEP)
    num_all = len(scores) - first
    num_true = np.append(np.cumsum(is_true[::-1])[::-1], 0)[first]
    num_objects = int(tables.objects.is_scored.sum())
    return Sweep(
        _SWEEP.tolist(),
        [float(true / number) if number else None for true, number in zip(num_true, num_all, strict=True)],
        (num_true / max(1, num_objects)).tolist(),
        (2 * num_true / np.maximum(1, num_all + num_objects)).tolist(),
    )


def _images(tables: Tables, num_classes: int, is_shown: np.ndarray, is_found: np.ndarray) -> list[ImageFigures]:
    detections, objects = tables.detections, tables.objects
    size = len(tables.image_ids)
    costs = tables.costs
    average = image_average_precisions(tables, num_classes)
    num_objects = np.bincount(objects.images[objects.is_scored], minlength=size)
    found = np.bincount(objects.images[is_found], minlength=size)
    wrong = {
        kind.name.lower(): np.bincount(detections.images[is_shown & (detections.kinds == kind)], minlength=size)
        for kind in ERROR_KINDS
    }
    return [
        ImageFigures(
            tables.image_ids[row],
            float(costs[row]),
            None if np.isnan(average[row]) else float(average[row]),
            int(num_objects[row]),
            int(found[row]),
            {kind: int(numbers[row]) for kind, numbers in wrong.items()},
        )
        for row in np.argsort(-costs, kind="stable")
        if costs[row] > 0
    ]


def _mean(values: np.ndarray) -> float:
    return float(values.mean()) if values.size else 0.0
