"""The score threshold with the best F1, the harmonic mean of precision and recall."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Threshold:
    """A score threshold and its metrics at an IoU of .5.

    Attributes:
        score: lowest score of a detection that counts.
        f1, precision, recall: 0 to 1.
    """

    score: float
    f1: float
    precision: float
    recall: float


def best_threshold(scores: np.ndarray, is_true: np.ndarray, num_objects: int) -> Threshold | None:
    """Find the threshold with the best F1 over some detections; the highest one if several are equal.

    Args:
        scores: float64 [D].
        is_true: bool [D], true positives.
        num_objects: number of objects to find.

    Returns:
        None if there is no true positive: no threshold is better than another.
    """
    if not is_true.any():
        return None
    order = np.argsort(-scores, kind="stable")
    scores, is_true = scores[order], is_true[order]
    num_true, num_all = np.cumsum(is_true), np.arange(1, len(scores) + 1)
    f1 = 2 * num_true / (num_all + num_objects)
    f1[:-1][scores[1:] == scores[:-1]] = -1.0  # a threshold cannot separate ties
    best = int(f1.argmax())
    precision, recall = num_true[best] / num_all[best], num_true[best] / num_objects
    return Threshold(float(scores[best]), float(f1[best]), float(precision), float(recall))
