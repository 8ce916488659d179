"""Linear SVMs with the hinge loss, all classes at once, solved to a known distance from the optimum.

The algorithm is liblinear's: coordinate descent in the dual (Hsieh et al., ICML 2008, "A dual coordinate descent method
for large-scale linear SVM"). One visit of an example serves all classes, which share the features. Examples that cannot
improve the objective are skipped.

Shape letters: E examples, F features, K classes.
"""

from typing import NamedTuple

import numpy as np

_SWEEPS_PER_CHECK = 3
"""Sweeps between two evaluations of the gap, each of which costs about as much as a tenth of a full sweep."""


class SupportVectorMachines(NamedTuple):
    """K SVMs, and their dual solution to continue from.

    Attributes:
        weights: weights float32 [K, F].
        biases: biases float32 [K].
        dual: dual variables float64 [E, K], from 0 to the cost of the example.
        gap: relative duality gap, an upper bound of the distance from the optimum; the largest of all classes.
    """

    weights: np.ndarray
    biases: np.ndarray
    dual: np.ndarray
    gap: float


def solve_hinge(
    features: np.ndarray,
    signs: np.ndarray,
    *,
    cost: float,
    positive_weight: float = 1.0,
    bias_feature: float = 1.0,
    dual: np.ndarray | None = None,
    tolerance: float = 5e-4,
    max_sweeps: int = 1000,
) -> SupportVectorMachines:
    """Minimize |w|^2 / 2 + (b / bias_feature)^2 / 2 + sum of cost * max(0, 1 - sign * (w x + b)), class by class.

    Args:
        features: features float32 [E, F].
        signs: int8 [E, K]: 1 for a positive of the class, -1 for a negative, 0 for neither.
        cost: cost of a violated margin (liblinear's C).
        positive_weight: factor of the cost for positives.
        bias_feature: value of an additional feature whose weight gives the bias; a larger one penalizes the bias less
            (liblinear's B).
        dual: start [E, K]: an earlier solution for these examples, and 0 for new ones; zeros if not given.
        tolerance: relative duality gap at which the solver stops.
        max_sweeps: number of sweeps at which the solver stops in any case.
    """
    signs = signs.astype(np.float64)
    limits = cost * np.where(signs > 0, positive_weight, 1.0) * (signs != 0)
    curvature = np.einsum("ef,ef->e", features, features).astype(np.float64) + bias_feature**2
    dual = np.zeros(signs.shape) if dual is None else dual.clip(0, limits)
    draw = np.random.default_rng(0)
    sweeps = 0
    while True:
        weights, biases = _primal(features, dual * signs, bias_feature)
        slopes = signs * (features @ weights.T + biases) - 1  # of the dual objective
        gap = _relative_gap(weights, biases / bias_feature, dual, slopes, limits)
        if gap <= tolerance or sweeps >= max_sweeps:
            return SupportVectorMachines(weights.astype(np.float32), biases.astype(np.float32), dual, gap)
        may_gain = ((slopes < 0) & (dual < limits)) | ((slopes > 0) & (dual > 0))
        visited = np.flatnonzero(may_gain.any(axis=1))
        for _ in range(_SWEEPS_PER_CHECK):
            draw.shuffle(visited)
            _sweep(visited, features, signs, limits, curvature, bias_feature, weights, biases, dual)
        sweeps += _SWEEPS_PER_CHECK


def _primal(features: np.ndarray, coefficients: np.ndarray, bias_feature: float) -> tuple[np.ndarray, np.ndarray]:
    """Compute weights float32 [K, F] and biases float64 [K] from signed dual variables [E, K]."""
    return coefficients.T.astype(np.float32) @ features, coefficients.sum(axis=0) * bias_feature**2


def _relative_gap(
    weights: np.ndarray, bias_weights: np.ndarray, dual: np.ndarray, slopes: np.ndarray, limits: np.ndarray
) -> float:
    """Compute the relative duality gap, the largest of all classes; the dual objective bounds the optimum."""
    half_norm = (np.einsum("kf,kf->k", weights, weights, dtype=np.float64) + bias_weights**2) / 2
    objective = half_norm + (limits * np.maximum(0, -slopes)).sum(axis=0)
    gap = objective - (dual.sum(axis=0) - half_norm)
    return float(np.max(gap / np.maximum(objective, np.finfo(np.float64).tiny)))


def _sweep(
    visited: np.ndarray,
    features: np.ndarray,
    signs: np.ndarray,
    limits: np.ndarray,
    curvature: np.ndarray,
    bias_feature: float,
    weights: np.ndarray,
    biases: np.ndarray,
    dual: np.ndarray,
) -> None:
    """Minimize over the dual variables, example by example; changes weights, biases and dual in place."""
    squared = bias_feature**2
    for example in visited:
        x, sign, current = features[example], signs[example], dual[example]
        slope = sign * (weights @ x + biases) - 1
        updated = np.minimum(np.maximum(current - slope / curvature[example], 0), limits[example])
        change = (updated - current) * sign
        for k in np.flatnonzero(change):
            weights[k] += np.float32(change[k]) * x
        biases += change * squared
        dual[example] = updated
