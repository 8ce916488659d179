"""Fully connected layers of low rank: Fast R-CNN section 3.1, truncated singular value decomposition.

If only the t largest singular values are kept, a layer W = U S V' with u outputs and v inputs becomes two layers, S V'
and U, with t features between them: t (u + v) weights instead of u v.
"""

import torch
from torch import Tensor, nn

from lightning_rcnn.errors import InputError


class LowRankLinear(nn.Module):
    """Linear layer of low rank: two layers without a nonlinearity between them; the second has the bias."""

    def __init__(self, in_features: int, out_features: int, rank: int) -> None:
        super().__init__()
        self.first = nn.Linear(in_features, rank, bias=False)
        self.second = nn.Linear(rank, out_features)

    def forward(self, hidden: Tensor) -> Tensor:
        """Compute [B, out_features] from [B, in_features]."""
        return self.second(self.first(hidden))


def replace_with_low_rank(head: nn.Module, ranks: tuple[int, int]) -> None:
    """Replace fc6 and fc7 of a head by initialized layers of these ranks.

    Raises:
        InputError: the head has no such layers, or a rank is out of range.
    """
    for name, layer, rank in _layers(head, ranks):
        setattr(head, name, LowRankLinear(layer.in_features, layer.out_features, rank))


def truncate(head: nn.Module, ranks: tuple[int, int]) -> None:
    """Replace fc6 and fc7 of a head by their best approximations of these ranks, in the Frobenius norm.

    Raises:
        InputError: the head has no such layers, or a rank is out of range.
    """
    for name, layer, rank in _layers(head, ranks):
        setattr(head, name, nearest(layer, rank))


def nearest(layer: nn.Linear, rank: int) -> LowRankLinear:
    """Return the best approximation of `layer` of this rank."""
    left, values, right = torch.linalg.svd(layer.weight.detach(), full_matrices=False)
    low_rank = LowRankLinear(layer.in_features, layer.out_features, rank)
    with torch.no_grad():
        low_rank.first.weight.copy_(values[:rank, None] * right[:rank])
        low_rank.second.weight.copy_(left[:, :rank])
        low_rank.second.bias.copy_(layer.bias)
    return low_rank


def _layers(head: nn.Module, ranks: tuple[int, int]) -> list[tuple[str, nn.Linear, int]]:
    layers = []
    for name, rank in zip(("fc6", "fc7"), ranks, strict=True):
        layer = getattr(head, name, None)
        if not isinstance(layer, nn.Linear):
            raise InputError(f"model.box.head: svd_ranks: the head has no fully connected layer {name} to truncate")
        if not 1 <= rank <= min(layer.weight.shape):
            limit = min(layer.weight.shape)
            raise InputError(f"model.box.head: svd_ranks: {rank} is out of range for {name}; give 1 to {limit}")
        layers.append((name, layer, rank))
    return layers
