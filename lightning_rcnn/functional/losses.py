"""Losses as sums over sampled boxes, and their normalization over all ranks.

Shape letters: N images, S samples of an image, R RoIs of an image, B RoIs of the whole batch, K classes.
In `mask_loss` and `keypoint_loss` S is the side of a mask or heat map.
"""

from collections.abc import Mapping
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from lightning_rcnn.distributed import mean_over_ranks


class LossSum(NamedTuple):
    """A loss before normalization.

    Attributes:
        total: scalar, sum over the samples of this rank.
        number: scalar, number of samples to divide by.
    """

    total: Tensor
    number: Tensor


def objectness_loss(logits: Tensor, is_positive: Tensor, is_valid: Tensor) -> Tensor:
    """Sum the binary cross-entropies of anchors (Faster R-CNN section 3.1.2, L_cls).

    Args:
        logits: [N, S].
        is_positive: bool [N, S], the labels.
        is_valid: bool [N, S]; other samples do not count.
    """
    loss = F.binary_cross_entropy_with_logits(logits.float(), is_positive.float(), reduction="none")
    return (loss * is_valid).sum()


def classification_loss(logits: Tensor, labels: Tensor, weights: Tensor) -> Tensor:
    """Sum the cross-entropies of RoIs (Fast R-CNN section 2.3).

    Args:
        logits: [N, R, K+1], background first.
        labels: int64 [N, R], 0 for background.
        weights: [N, R], weight of each RoI; bool to include or exclude it.
    """
    loss = F.cross_entropy(logits.float().flatten(0, 1), labels.flatten(), reduction="none")
    return (loss * weights.flatten()).sum()


def sigmoid_loss(logits: Tensor, is_own: Tensor, is_counted: Tensor) -> Tensor:
    """Sum the binary cross-entropies of RoIs and classes.

    Args:
        logits: [N, R, K], without background.
        is_own: bool [N, R, K], whether the RoI is of the class.
        is_counted: bool [N, R, K]; other pairs do not count.
    """
    loss = F.binary_cross_entropy_with_logits(logits.float(), is_own.float(), reduction="none")
    return torch.where(is_counted, loss, 0.0).sum()


def box_loss(deltas: Tensor, gt_deltas: Tensor, is_positive: Tensor, beta: float) -> Tensor:
    """Sum the smooth L1 losses of positives (Fast R-CNN equation 3).

    Args:
        deltas, gt_deltas: [N, S, 4], predictions and targets.
        is_positive: bool [N, S]; other samples do not count.
        beta: distance at which the loss turns from quadratic to linear; 0 for plain L1.
    """
    # Mask the difference before the loss: slots that do not count may hold NaN.
    difference = torch.where(is_positive[..., None], deltas.float() - gt_deltas, 0.0)
    return F.smooth_l1_loss(difference, torch.zeros_like(difference), reduction="sum", beta=beta)


def mask_loss(logits: Tensor, gt_masks: Tensor, is_positive: Tensor) -> Tensor:
    """Sum the mean binary cross-entropies of the masks of positives (Mask R-CNN section 3, L_mask).

    Args:
        logits: [B, S, S], logits of the ground-truth class: classes do not compete.
        gt_masks: float32 [B, S, S], targets, 0 to 1.
        is_positive: bool [B]; other RoIs do not count.
    """
    loss = F.binary_cross_entropy_with_logits(logits.float(), gt_masks, reduction="none")
    return (loss.mean(dim=(1, 2)) * is_positive).sum()


def keypoint_loss(logits: Tensor, cells: Tensor, has_cell: Tensor) -> Tensor:
    """Sum the cross-entropies of heat maps over their cells (Mask R-CNN section 5).

    Args:
        logits: [B, J, S, S], one map for each of J keypoints.
        cells: int64 [B, J], cell of each keypoint, row * S + column.
        has_cell: bool [B, J]; other keypoints do not count.
    """
    loss = F.cross_entropy(logits.float().flatten(2).flatten(0, 1), cells.flatten(), reduction="none")
    return torch.where(has_cell.flatten(), loss, 0.0).sum()


def mean_losses(sums: Mapping[str, LossSum]) -> dict[str, Tensor]:
    """Divide each loss by its mean number over all ranks, at least 1.

    DDP averages gradients over ranks. Dividing by the mean number of a rank gives the gradient that one process would
    compute for the whole batch, also if ranks sampled different numbers.
    """
    numbers = mean_over_ranks(torch.stack([loss.number.float() for loss in sums.values()])).clamp(min=1)
    return {name: loss.total / number for (name, loss), number in zip(sums.items(), numbers.unbind(), strict=True)}
