"""Linear support vector machines with the hinge loss, all classes at once, solved to a known distance from the optimum.

Coordinate descent in the dual (Hsieh et al., ICML 2008, "A dual coordinate descent method for large-scale linear SVM"),
the algorithm of liblinear. One visit of an example serves all classes, which share the features, and only examples are
visited that have something to gain.

Shape letters: E examples, F features, K classes.
"""

from typing import NamedTuple

import numpy as np

_SWEEPS_AT_A_TIME = 3
"""Between two looks at all examples; a look costs about as much as visiting a tenth of them."""


class SupportVectorMachines(NamedTuple):
    """K machines and what is needed to go on from them.

    Attributes:
        weights: float32 [K, F].
        biases: float32 [K].
        dual: float64 [E, K], the weight of each example, from 0 to its cost.
        gap: by how much the objectives are above the optimum at most, as a share of them; the worst of the classes.
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
    """Minimise |w|^2 / 2 + (b / bias_feature)^2 / 2 + sum of cost * max(0, 1 - sign * (w x + b)), class by class.

    Args:
        features: float32 [E, F].
        signs: int8 [E, K]: 1 for an example of the class, -1 against it, 0 where it takes no part.
        cost: of a violated margin (liblinear's C).
        positive_weight: the cost of positives is multiplied by this.
        bias_feature: the bias is the weight of one more feature of this value, and penalised as such (liblinear's B):
            the larger, the less.
        dual: [E, K], where to start; of an earlier solution for these examples, and 0 for new ones.
        tolerance: the gap at which it ends.
        max_sweeps: at which it ends in any case.
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
        worth_a_visit = np.flatnonzero(may_gain.any(axis=1))
        for _ in range(_SWEEPS_AT_A_TIME):
            draw.shuffle(worth_a_visit)
            _sweep(worth_a_visit, features, signs, limits, curvature, bias_feature, weights, biases, dual)
        sweeps += _SWEEPS_AT_A_TIME


def _primal(features: np.ndarray, coefficients: np.ndarray, bias_feature: float) -> tuple[np.ndarray, np.ndarray]:
    """Weights float32 [K, F] and biases float64 [K] that belong to signed dual values [E, K]."""
    return coefficients.T.astype(np.float32) @ features, coefficients.sum(axis=0) * bias_feature**2


def _relative_gap(
    weights: np.ndarray, bias_weights: np.ndarray, dual: np.ndarray, slopes: np.ndarray, limits: np.ndarray
) -> float:
    """How far the objective is above that of the dual, which the optimum is not below; the worst class."""
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
    """Minimise over the dual value of one example after the other; changes weights, biases and dual in place."""
    squared = bias_feature**2
    for example in visited:
        x, sign, held = features[example], signs[example], dual[example]
        slope = sign * (weights @ x + biases) - 1
        wanted = np.minimum(np.maximum(held - slope / curvature[example], 0), limits[example])
        change = (wanted - held) * sign
        for k in np.flatnonzero(change):
            weights[k] += np.float32(change[k]) * x
        biases += change * squared
        dual[example] = wanted
