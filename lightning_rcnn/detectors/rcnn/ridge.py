"""Ridge regression in closed form.

Shape letters: E examples, F features, T targets.
"""

from typing import NamedTuple

import torch
from torch import Tensor

_CHUNK = 1024
"""Rows or columns that are converted to float64 at a time."""


class RidgeRegression(NamedTuple):
    """Solution: float32 `weights` [T, F] and `intercepts` [T]."""

    weights: Tensor
    intercepts: Tensor


def solve_ridge(features: Tensor, targets: Tensor, penalty: float) -> RidgeRegression:
    """Minimize |targets - features w - intercept|^2 + penalty |w|^2; the intercept is not penalized.

    The smaller of the primal system (F unknowns) and the dual one (E unknowns) is solved by Cholesky factorization in
    float64; the largest matrix has min(E, F)^2 entries.

    Args:
        features: features float32 [E, F], E at least 1.
        targets: targets float32 [E, T].
        penalty: weight of the penalty, above 0.
    """
    num_examples, num_features = features.shape
    mean_features = features.mean(dim=0, dtype=torch.float64)
    mean_targets = targets.mean(dim=0, dtype=torch.float64)
    centered_targets = targets.double() - mean_targets
    if num_examples < num_features:
        # The same weights as below, because (X'X + pI)^-1 X' = X' (XX' + pI)^-1.
        matrix = features.new_zeros((num_examples, num_examples), dtype=torch.float64)
        for part, mean in zip(features.split(_CHUNK, dim=1), mean_features.split(_CHUNK), strict=True):
            centered = part.double() - mean
            matrix.addmm_(centered, centered.T)
        dual = _solve(matrix, centered_targets, penalty)
        # Its columns sum to 0 like those of the centered targets, so the mean need not be subtracted.
        weights = torch.cat([part.double().T @ dual for part in features.split(_CHUNK, dim=1)])
    else:
        matrix = features.new_zeros((num_features, num_features), dtype=torch.float64)
        products = features.new_zeros((num_features, targets.shape[1]), dtype=torch.float64)
        for rows, centered_rows in zip(features.split(_CHUNK), centered_targets.split(_CHUNK), strict=True):
            centered = rows.double() - mean_features
            matrix.addmm_(centered.T, centered)
            products.addmm_(centered.T, centered_rows)
        weights = _solve(matrix, products, penalty)
    return RidgeRegression(weights.T.float(), (mean_targets - mean_features @ weights).float())


def _solve(matrix: Tensor, right: Tensor, penalty: float) -> Tensor:
    """Solve (matrix + penalty I) x = right; `matrix` is overwritten."""
    matrix.diagonal().add_(penalty)
    return torch.cholesky_solve(right, torch.linalg.cholesky(matrix))
