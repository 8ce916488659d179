"""LVIS's rules for a federated set, of whose images each was looked through for some classes only.

- A class counts in the images with an object of it, and in those that list it as absent. Elsewhere its detections are
  left out: nobody knows whether they are right.
- Of a class that is not annotated exhaustively in an image, a detection that matches no object is ignored.
- The best 300 detections of an image count, over all classes together and before the first rule.
- AP is also the mean over rare, common and frequent classes.

Source: Gupta et al., LVIS, arXiv 1908.03195, sections 2 and 4, and `eval.py` and `results.py` of the authors'
implementation.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from lightning_rcnn.structures import LabelLists

NOT_EXHAUSTIVE = "not_exhaustive"
"""Key of a detection that is ignored if it matches no object."""


class Federation(NamedTuple):
    """What the rules need to know of a federated set beside the lists of its images.

    Attributes:
        frequencies: group of each class 1..K, "r", "c" or "f"; empty if it is not stated.
    """

    frequencies: tuple[str, ...]


def detection_limit(federation: Federation | None) -> int:
    """Return how many detections count by default: LVIS's 300 of an image, or COCO's 100 of an image and class."""
    return 100 if federation is None else 300


def judged_results(
    results: Sequence[Mapping[str, Any]],
    objects: Sequence[Mapping[str, Any]],
    lists: LabelLists,
    max_detections: int,
) -> list[dict[str, Any]]:
    """Return the detections of an image that can be judged, best first; ties keep their order.

    Args:
        results: `category_id`, `score` and a place.
        objects: `category_id` and a place.
        lists: lists of the image.
        max_detections: most detections of the image.

    Returns:
        Of each detection a copy, with `NOT_EXHAUSTIVE` where one that matches no object is ignored.
    """
    known = {entry["category_id"] for entry in objects}.union(lists.negative)
    best = sorted(results, key=lambda entry: -entry["score"])[:max_detections]
    judged = [dict(entry) for entry in best if entry["category_id"] in known]
    for entry in judged:
        if entry["category_id"] in lists.not_exhaustive:
            entry[NOT_EXHAUSTIVE] = 1
    return judged


def is_judged(labels: np.ndarray, gt_labels: np.ndarray, lists: LabelLists) -> np.ndarray:
    """Return a mask [D] of the detections of an image that can be judged.

    Args:
        labels: int [D], labels of the detections.
        gt_labels: int [M], labels of the objects.
        lists: lists of the image.
    """
    return np.isin(labels, [*gt_labels, *lists.negative])
