"""Losses as sums over what was sampled; the caller divides, since the denominator spans all ranks.

Shape letters: N images, S samples, R regions, K classes.
"""

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.distributed import ReduceOp, all_reduce, get_world_size, is_available, is_initialized


def objectness_loss(logits: Tensor, is_positive: Tensor, is_valid: Tensor) -> Tensor:
    """Sum of binary cross-entropies of logits [N, S] (Faster R-CNN section 3.1.2, L_cls)."""
    loss = F.binary_cross_entropy_with_logits(logits.float(), is_positive.float(), reduction="none")
    return (loss * is_valid).sum()


def classification_loss(logits: Tensor, labels: Tensor, is_valid: Tensor) -> Tensor:
    """Sum of cross-entropies of logits [N, R, K+1] with labels [N, R], 0 for background (Fast R-CNN section 2.3)."""
    loss = F.cross_entropy(logits.float().flatten(0, 1), labels.flatten(), reduction="none")
    return (loss * is_valid.flatten()).sum()


def box_loss(deltas: Tensor, gt_deltas: Tensor, is_positive: Tensor, beta: float) -> Tensor:
    """Sum of smooth L1 distances over positives of deltas [N, S, 4] (Fast R-CNN equation 3).

    Args:
        deltas, gt_deltas: [N, S, 4].
        is_positive: bool [N, S].
        beta: where the quadratic part ends; 0 is plain L1.
    """
    # The difference is masked before the loss: what stands in a slot that doesn't count may be anything.
    difference = torch.where(is_positive[..., None], deltas.float() - gt_deltas, 0.0)
    return F.smooth_l1_loss(difference, torch.zeros_like(difference), reduction="sum", beta=beta)


def mean_over_ranks(counts: Tensor) -> Tensor:
    """Average of `counts` over all ranks.

    DDP averages gradients over ranks. A sum divided by the mean count of a rank therefore gives the gradient that
    one process would get from the whole batch, also where ranks sampled different numbers.
    """
    if not (is_available() and is_initialized()) or get_world_size() == 1:
        return counts
    counts = counts.clone()
    all_reduce(counts, op=ReduceOp.SUM)
    return counts / get_world_size()
