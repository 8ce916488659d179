"""Fully connected layers of low rank: Fast R-CNN section 3.1, truncated singular value decomposition.

A layer of u outputs and v inputs, W = U S V', becomes two of t between them, S V' and U, if only the t largest singular
values are kept: t (u + v) numbers instead of u v.
"""

import torch
from torch import Tensor, nn

from lightning_rcnn.errors import InputError


class LowRankLinear(nn.Module):
    """Two layers in the place of one, without a nonlinearity between them; the second has the bias."""

    def __init__(self, in_features: int, out_features: int, rank: int) -> None:
        super().__init__()
        self.first = nn.Linear(in_features, rank, bias=False)
        self.second = nn.Linear(rank, out_features)

    def forward(self, hidden: Tensor) -> Tensor:
        """[B, in_features] -> [B, out_features]."""
        return self.second(self.first(hidden))


def replace_with_low_rank(head: nn.Module, ranks: tuple[int, int]) -> None:
    """Put layers of these ranks, with new weights, into the places of the head's fc6 and fc7.

    Raises:
        InputError: no such layers, or ranks that they do not have.
    """
    for name, layer, rank in _layers(head, ranks):
        setattr(head, name, LowRankLinear(layer.in_features, layer.out_features, rank))


def truncate(head: nn.Module, ranks: tuple[int, int]) -> None:
    """Replace the head's fc6 and fc7 by the layers of these ranks that are nearest to them, in the Frobenius norm.

    Raises:
        InputError: no such layers, or ranks that they do not have.
    """
    for name, layer, rank in _layers(head, ranks):
        setattr(head, name, nearest(layer, rank))


def nearest(layer: nn.Linear, rank: int) -> LowRankLinear:
    """The layer of this rank that is nearest to `layer`."""
    left, values, right = torch.linalg.svd(layer.weight.detach(), full_matrices=False)
    low_rank = LowRankLinear(layer.in_features, layer.out_features, rank)
    with torch.no_grad():
        low_rank.first.weight.copy_(values[:rank, None] * right[:rank])
        low_rank.second.weight.copy_(left[:, :rank])
        low_rank.second.bias.copy_(layer.bias)
    return low_rank


def _layers(head: nn.Module, ranks: tuple[int, int]) -> list[tuple[str, nn.Linear, int]]:
    found = []
    for name, rank in zip(("fc6", "fc7"), ranks, strict=True):
        layer = getattr(head, name, None)
        if not isinstance(layer, nn.Linear):
            raise InputError(f"model.box.head: svd_ranks: the head has no fully connected layer {name} to truncate")
        if not 1 <= rank <= min(layer.weight.shape):
            limit = min(layer.weight.shape)
            raise InputError(f"model.box.head: svd_ranks: {name} has ranks from 1 to {limit}, not {rank}")
        found.append((name, layer, rank))
    return found
