"""Ridge regression in closed form.

Shape letters: E examples, F features, T targets.
"""

from typing import NamedTuple

import torch
from torch import Tensor

_AT_A_TIME = 1024
"""Rows or columns that are held in float64 at a time."""


class RidgeRegression(NamedTuple):
    """Float32 `weights` [T, F] and `intercepts` [T]."""

    weights: Tensor
    intercepts: Tensor


def solve_ridge(features: Tensor, targets: Tensor, penalty: float) -> RidgeRegression:
    """Minimise |targets - features w - intercept|^2 + penalty |w|^2; the intercept is not penalised.

    Solved for the weights or for one value an example, whichever are fewer, by Cholesky factorisation in float64; the
    largest matrix has min(E, F)^2 entries.

    Args:
        features: float32 [E, F], E at least 1.
        targets: float32 [E, T].
        penalty: above 0.
    """
    num_examples, num_features = features.shape
    mean_features = features.mean(dim=0, dtype=torch.float64)
    mean_targets = targets.mean(dim=0, dtype=torch.float64)
    centred_targets = targets.double() - mean_targets
    if num_examples < num_features:
        # The same weights as below, because (X'X + pI)^-1 X' = X' (XX' + pI)^-1.
        matrix = features.new_zeros((num_examples, num_examples), dtype=torch.float64)
        for part, mean in zip(features.split(_AT_A_TIME, dim=1), mean_features.split(_AT_A_TIME), strict=True):
            centred = part.double() - mean
            matrix.addmm_(centred, centred.T)
        of_examples = _solve(matrix, centred_targets, penalty)
        # Its columns sum to 0, as those of the centred targets do, so that the mean needs no subtraction.
        weights = torch.cat([part.double().T @ of_examples for part in features.split(_AT_A_TIME, dim=1)])
    else:
        matrix = features.new_zeros((num_features, num_features), dtype=torch.float64)
        products = features.new_zeros((num_features, targets.shape[1]), dtype=torch.float64)
        for rows, wanted in zip(features.split(_AT_A_TIME), centred_targets.split(_AT_A_TIME), strict=True):
            centred = rows.double() - mean_features
            matrix.addmm_(centred.T, centred)
            products.addmm_(centred.T, wanted)
        weights = _solve(matrix, products, penalty)
    return RidgeRegression(weights.T.float(), (mean_targets - mean_features @ weights).float())


def _solve(matrix: Tensor, right: Tensor, penalty: float) -> Tensor:
    """The solution of (matrix + penalty I) x = right; `matrix` is overwritten."""
    matrix.diagonal().add_(penalty)
    return torch.cholesky_solve(right, torch.linalg.cholesky(matrix))
