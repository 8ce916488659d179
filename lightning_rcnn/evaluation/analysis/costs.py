"""Cost of each kind of error: the gain in AP50 if all errors of this kind, and no others, were fixed.

A wrong class or location is fixed in the best detection per unfound object, and removed in the others; other false
positives are removed; missed objects are no longer counted. So costs do not add up to 1 - AP50.
Source: Bolya et al., TIDE, arXiv 2008.08115, section 2.2.
"""

import numpy as np
from hotcoco.metrics import average_precision

from lightning_rcnn.evaluation.analysis.tables import Tables, rows_of_groups
from lightning_rcnn.evaluation.analysis.verdicts import ERROR_KINDS, Kind

MISSED = "missed"
ERRORS = (*(kind.name.lower() for kind in ERROR_KINDS), MISSED)
"""Names of the kinds, in TIDE's order."""


def missed_objects(tables: Tables) -> np.ndarray:
    """Return a mask [G] of the scored objects that no detection finds, even with its class or location fixed."""
    detections, objects = tables.detections, tables.objects
    is_fixable = np.isin(detections.kinds, (Kind.CLASS, Kind.LOCATION))
    is_missed = objects.is_scored & (objects.found_by < 0)
    is_missed[detections.objects[is_fixable]] = False
    return is_missed


def average_precisions(tables: Tables, num_classes: int) -> np.ndarray:
    """Compute the AP50 of each class, float64 [K]; NaN without objects."""
    detections = tables.detections
    return _by_class(tables, detections.labels, detections.is_true, detections.counts, num_classes)


def image_average_precisions(tables: Tables, num_classes: int) -> np.ndarray:
    """Compute the AP50 of each image, float64 [images]: the mean over its classes; NaN without objects."""
    detections, objects = tables.detections, tables.objects
    keys = objects.images * (num_classes + 1) + objects.labels
    groups, num_objects = np.unique(keys[objects.is_scored], return_counts=True)
    keys = detections.images * (num_classes + 1) + detections.labels
    group_of = np.minimum(np.searchsorted(groups, keys), max(0, len(groups) - 1))
    rows = np.flatnonzero(detections.counts & (groups[group_of] == keys)) if groups.size else np.zeros(0, np.int64)
    figures = _by_group(detections.scores[rows], detections.is_true[rows], group_of[rows], num_objects)
    images = groups // (num_classes + 1)
    sums = np.bincount(images, figures, minlength=len(tables.image_ids))
    numbers = np.bincount(images, minlength=len(tables.image_ids))
    return np.where(numbers > 0, sums / np.maximum(1, numbers), np.nan)


def error_costs(tables: Tables, num_classes: int) -> dict[str, np.ndarray]:
    """Compute the cost of each kind of error to each class.

    Returns:
        Kind -> float64 [K], gain in AP50, which may be negative; NaN without objects.
    """
    detections = tables.detections
    before = average_precisions(tables, num_classes)
    fixable = _best_of_each_object(tables)
    costs = {}
    for kind in ERROR_KINDS:
        labels, is_true, counts = detections.labels.copy(), detections.is_true.copy(), detections.counts.copy()
        counts[detections.kinds == kind] = False
        fixed = fixable[detections.kinds[fixable] == kind]
        counts[fixed] = is_true[fixed] = True
        labels[fixed] = tables.objects.labels[detections.objects[fixed]]
        costs[kind.name.lower()] = _by_class(tables, labels, is_true, counts, num_classes) - before
    objects = tables.objects._replace(is_scored=tables.objects.is_scored & ~missed_objects(tables))
    without = _by_class(
        tables._replace(objects=objects), detections.labels, detections.is_true, detections.counts, num_classes
    )
    # If all objects of a class are missed, TIDE drops the class from the mean. Here the cost is its whole AP.
    costs[MISSED] = np.where(np.isnan(without), 1.0, without) - before
    return costs


def _best_of_each_object(tables: Tables) -> np.ndarray:
    """Return the rows of the best detection with a wrong class or location per unfound object."""
    columns = tables.detections
    rows = np.flatnonzero(np.isin(columns.kinds, (Kind.CLASS, Kind.LOCATION)))
    rows = rows[tables.objects.found_by[columns.objects[rows]] < 0]
    rows = rows[np.argsort(-columns.scores[rows], kind="stable")]
    _, first = np.unique(columns.objects[rows], return_index=True)
    return rows[first]


def _by_class(
    tables: Tables, labels: np.ndarray, is_true: np.ndarray, counts: np.ndarray, num_classes: int
) -> np.ndarray:
    num_objects = np.bincount(tables.objects.labels[tables.objects.is_scored], minlength=num_classes + 1)[1:]
    return _by_group(tables.detections.scores[counts], is_true[counts], labels[counts] - 1, num_objects)


def _by_group(scores: np.ndarray, is_true: np.ndarray, groups: np.ndarray, num_objects: np.ndarray) -> np.ndarray:
    """Compute the AP50 of each group of detections.

    Args:
        scores: [D].
        is_true: bool [D].
        groups: int64 [D], group of each detection.
        num_objects: int64 [groups].

    Returns:
        Float64 [groups]; NaN without objects.
    """
    rows_of = rows_of_groups(groups, len(num_objects))
    figures = np.full(len(num_objects), np.nan)
    for group in np.flatnonzero(num_objects):
        rows = rows_of[group]
        figures[group] = average_precision(scores[rows], is_true[rows], int(num_objects[group]))
    return figures
