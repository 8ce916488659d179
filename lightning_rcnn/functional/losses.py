"""Losses as sums over what was sampled, and their division by what was counted, which spans all ranks.

Shape letters: N images, S samples, R regions, B regions of the whole batch, K classes.
"""

from collections.abc import Mapping
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from lightning_rcnn.distributed import mean_over_ranks


class LossSum(NamedTuple):
    """A loss before its division: `total` over what this rank sampled, `number` of it. Scalars."""

    total: Tensor
    number: Tensor


def objectness_loss(logits: Tensor, is_positive: Tensor, is_valid: Tensor) -> Tensor:
    """Sum of binary cross-entropies of logits [N, S] (Faster R-CNN section 3.1.2, L_cls)."""
    loss = F.binary_cross_entropy_with_logits(logits.float(), is_positive.float(), reduction="none")
    return (loss * is_valid).sum()


def classification_loss(logits: Tensor, labels: Tensor, weights: Tensor) -> Tensor:
    """Sum of cross-entropies of logits [N, R, K+1] with labels [N, R], 0 for background (Fast R-CNN section 2.3).

    Args:
        logits, labels: see above.
        weights: what each region counts [N, R]; bool for those that count and those that don't.
    """
    loss = F.cross_entropy(logits.float().flatten(0, 1), labels.flatten(), reduction="none")
    return (loss * weights.flatten()).sum()


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


def mask_loss(logits: Tensor, gt_masks: Tensor, is_positive: Tensor) -> Tensor:
    """Sum over positives of the mean binary cross-entropy of a mask (Mask R-CNN section 3, L_mask).

    Args:
        logits: [B, S, S], of the class of the ground truth: classes do not compete.
        gt_masks: float32 [B, S, S], 0 to 1.
        is_positive: bool [B].
    """
    loss = F.binary_cross_entropy_with_logits(logits.float(), gt_masks, reduction="none")
    return (loss.mean(dim=(1, 2)) * is_positive).sum()


def mean_losses(sums: Mapping[str, LossSum]) -> dict[str, Tensor]:
    """Each loss divided by its mean number over all ranks, at least 1.

    DDP averages gradients over ranks. A sum divided by the mean number of a rank therefore gives the gradient that
    one process would get from the whole batch, also where ranks sampled different numbers.
    """
    numbers = mean_over_ranks(torch.stack([loss.number.float() for loss in sums.values()])).clamp(min=1)
    return {name: loss.total / number for (name, loss), number in zip(sums.items(), numbers.unbind(), strict=True)}
