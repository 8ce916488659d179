"""Classify each detection and object of an image by the error kinds of TIDE, at one IoU.

Detections are matched as in COCO, best score first, so a verdict does not depend on a score threshold that is set
later. Source: Bolya et al., TIDE, arXiv 2008.08115, section 2.

Shape letters: D detections, G objects.
"""

from collections.abc import Mapping, Sequence
from enum import IntEnum
from typing import Any, NamedTuple

import numpy as np
from pycocotools import mask as coco_mask

from lightning_rcnn.evaluation.federated import NOT_EXHAUSTIVE

MATCH_IOU = 0.5
"""Lowest IoU of a detection with its object."""
BACKGROUND_IOU = 0.1
"""Highest IoU of a detection that lies on the background."""


class Kind(IntEnum):
    """Kind of a detection; all but the first two are errors."""

    TRUE = 0
    """True positive."""
    IGNORED = 1
    """Matched to a crowd or a difficult object, or unmatched where not all objects are annotated, so not scored."""
    CLASS = 2
    """On an object of another class."""
    LOCATION = 3
    """Right class, IoU too low."""
    BOTH = 4
    """Wrong class and IoU too low."""
    DUPLICATE = 5
    """On an object that a detection with a higher score is matched to."""
    BACKGROUND = 6
    """On no object."""


ERROR_KINDS = tuple(kind for kind in Kind if kind >= Kind.CLASS)


class Verdicts(NamedTuple):
    """Verdicts on the detections and objects of one image.

    Attributes:
        detections: float64 [5, D], best first; rows: score, label, `Kind`, object that it finds or should find (-1:
            none), object that it is matched to if classes are ignored (-1: none).
        objects: float64 [4, G]; rows: label, area in pixels, 1 if scored, detection that finds it (-1: none).
    """

    detections: np.ndarray
    objects: np.ndarray


def judge(
    objects: Sequence[Mapping[str, Any]], results: Sequence[Mapping[str, Any]], max_detections: int
) -> tuple[Verdicts, list[int]]:
    """Match the detections of one image, and classify their errors.

    Args:
        objects: `category_id`, `area`, `bbox` (x, y, width, height) or `segmentation` (RLE), perhaps `iscrowd` and
            `difficult`.
        results: `category_id`, `score`, and `bbox` or `segmentation`; perhaps `NOT_EXHAUSTIVE`, in a federated set.
        max_detections: number of detections per class that count, best first.

    Returns:
        The verdicts, and the index in `results` of each of their detections.
    """
    chosen = _best(results, max_detections)
    results = [results[number] for number in chosen]
    labels = np.array([entry["category_id"] for entry in objects], dtype=np.int64)
    is_crowd = np.array([bool(entry.get("iscrowd")) for entry in objects], dtype=bool)
    is_ignored = is_crowd | np.array([bool(entry.get("difficult")) for entry in objects], dtype=bool)
    scores = np.array([entry["score"] for entry in results], dtype=np.float64)
    found_labels = np.array([entry["category_id"] for entry in results], dtype=np.int64)
    iou = _iou(results, objects, is_crowd)
    is_same = found_labels[:, None] == labels[None]
    kinds, matches, finders = _match(iou, is_same, is_crowd, is_ignored)
    is_excused = np.array([bool(entry.get(NOT_EXHAUSTIVE)) for entry in results], dtype=bool)
    kinds[is_excused & (kinds == Kind.BACKGROUND)] = Kind.IGNORED
    _name_errors(kinds, matches, iou, is_same, finders, is_ignored)
    _, regardless, _ = _match(iou, np.ones_like(is_same), is_crowd, is_ignored)
    areas = np.array([entry["area"] for entry in objects], dtype=np.float64)
    detections = np.stack([scores, found_labels, kinds, matches, regardless]).astype(np.float64)
    return Verdicts(detections, np.stack([labels, areas, ~is_ignored, finders]).astype(np.float64)), chosen


def image_cost(verdicts: Verdicts) -> float:
    """Sum up the squared score errors of an image, without a threshold.

    The score of a false positive should be 0 and that of a true positive 1; a missed object adds 1.
    """
    scores, _, kinds, *_ = verdicts.detections
    _, _, is_scored, finders = verdicts.objects
    found_with = np.append(scores, 0.0)[finders.astype(np.int64)]  # -1, not found, is the last one
    wrong = scores[kinds >= Kind.CLASS]
    return float((wrong**2).sum() + ((1 - found_with[is_scored > 0]) ** 2).sum())


def _best(results: Sequence[Mapping[str, Any]], max_detections: int) -> list[int]:
    """Return the indices of the detections that count, best first; ties keep their order."""
    counts: dict[int, int] = {}
    chosen = []
    for number in sorted(range(len(results)), key=lambda number: -results[number]["score"]):
        label = results[number]["category_id"]
        counts[label] = counts.get(label, 0) + 1
        if counts[label] <= max_detections:
            chosen.append(number)
    return chosen


def _iou(
    results: Sequence[Mapping[str, Any]], objects: Sequence[Mapping[str, Any]], is_crowd: np.ndarray
) -> np.ndarray:
    """Compute the IoU, float64 [D, G]; for a crowd, the share of the detection inside it."""
    if not results or not objects:
        return np.zeros((len(results), len(objects)))
    key = "segmentation" if "segmentation" in results[0] else "bbox"
    places = [[entry[key] for entry in entries] for entries in (results, objects)]
    if key == "bbox":
        places = [np.array(boxes, dtype=np.float64) for boxes in places]  # type: ignore[misc]
    return np.asarray(coco_mask.iou(*places, is_crowd.astype(np.uint8)))


def _match(
    iou: np.ndarray, may_match: np.ndarray, is_crowd: np.ndarray, is_ignored: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Match as COCO does: each detection takes the free object with the highest IoU, preferably one that is scored.

    Args:
        iou: [D, G], detections best first.
        may_match: bool [D, G].
        is_crowd: bool [G]; a crowd takes any number of detections.
        is_ignored: bool [G], crowds included.

    Returns:
        Kinds [D] (TRUE, IGNORED, else BACKGROUND), objects [D] (-1: none) and detections [G] (-1: none).
    """
    kinds = np.full(len(iou), Kind.BACKGROUND, dtype=np.int64)
    matches = np.full(len(iou), -1, dtype=np.int64)
    finders = np.full(iou.shape[1], -1, dtype=np.int64)
    is_candidate = may_match & (iou >= MATCH_IOU)
    for detection in np.flatnonzero(is_candidate.any(1)):
        is_free = is_candidate[detection] & ((finders < 0) | is_crowd)
        for kind, is_wanted in ((Kind.TRUE, is_free & ~is_ignored), (Kind.IGNORED, is_free & is_ignored)):
            if is_wanted.any():
                # COCO takes the last of equal IoUs.
                overlaps = np.where(is_wanted, iou[detection], -1.0)[::-1]
                number = len(overlaps) - 1 - int(overlaps.argmax())
                kinds[detection], matches[detection], finders[number] = kind, number, detection
                break
    return kinds, matches, finders


def _name_errors(
    kinds: np.ndarray,
    matches: np.ndarray,
    iou: np.ndarray,
    is_same: np.ndarray,
    finders: np.ndarray,
    is_ignored: np.ndarray,
) -> None:
    """Set the kinds of false positives in place, in TIDE's order; objects that are not scored are ignored."""
    wrong = np.flatnonzero(kinds == Kind.BACKGROUND)
    scored = np.flatnonzero(~is_ignored)
    if not wrong.size or not scored.size:
        return
    overlaps, is_same = iou[np.ix_(wrong, scored)], is_same[np.ix_(wrong, scored)]
    same, other = overlaps * is_same, overlaps * ~is_same
    found = same * (finders[scored] >= 0)
    is_location = (same.max(1) >= BACKGROUND_IOU) & (same.max(1) <= MATCH_IOU)
    # The last rule that holds wins.
    rules = (
        (Kind.BOTH, overlaps, overlaps.max(1) > BACKGROUND_IOU),
        (Kind.DUPLICATE, found, found.max(1) >= MATCH_IOU),
        (Kind.CLASS, other, other.max(1) >= MATCH_IOU),
        (Kind.LOCATION, same, is_location),
    )
    for kind, table, holds in rules:
        kinds[wrong[holds]] = kind
        matches[wrong[holds]] = scored[table.argmax(1)[holds]]
