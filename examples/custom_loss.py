"""Losses of your own: one of boxes by their overlap, and one of classes.

Name them by their class paths:

lightning-rcnn fit --config configs/faster_rcnn/r18_fpn_shapes.yaml --data.train TRAIN --data.val VAL
    --model.box.box_loss examples.custom_loss.AlphaIoULoss --model.box.box_loss.weight 5
    --model.box.class_loss examples.custom_loss.FocalLoss --model.box.class_loss.gamma 1.5
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from lightning_rcnn.box_losses import OverlapLossSettings
from lightning_rcnn.functional.losses import LossSum
from lightning_rcnn.functional.targets import RoIs
from lightning_rcnn.roi_heads.class_losses import ClassLoss, ClassLossSettings
from lightning_rcnn.structures import Targets


@dataclass(frozen=True)
class AlphaIoULoss(OverlapLossSettings):
    """The loss 1 - IoU ** alpha (He et al. 2021, arXiv 2110.13675).

    Args:
        weight: factor of the loss.
        alpha: power; above 1, boxes that lie well already count more.
    """

    alpha: float = 3.0

    def of_pairs(self, boxes: Tensor, gt_boxes: Tensor) -> Tensor:
        """Compute the losses [...] of boxes and ground truth [..., 4], pixels."""
        corner = torch.minimum(boxes[..., 2:], gt_boxes[..., 2:]) - torch.maximum(boxes[..., :2], gt_boxes[..., :2])
        intersection = corner.clamp(min=0).prod(-1)
        areas = (boxes[..., 2:] - boxes[..., :2]).prod(-1) + (gt_boxes[..., 2:] - gt_boxes[..., :2]).prod(-1)
        return 1 - (intersection / (areas - intersection).clamp(min=1e-6)) ** self.alpha


@dataclass(frozen=True)
class FocalLoss(ClassLossSettings):
    """The focal loss of classes and background that compete (Lin et al. 2017, arXiv 1708.02002).

    Args:
        gamma: power; 0 is the cross-entropy.
    """

    gamma: float = 2.0

    def build(self, num_classes: int) -> ClassLoss:
        """Build the loss for K classes."""
        return FocalClassLoss(self)


class FocalClassLoss(ClassLoss):
    """The focal loss, with the scores of a softmax."""

    def __init__(self, settings: FocalLoss) -> None:
        super().__init__()
        self.settings = settings

    def forward(
        self, logits: Tensor, rois: RoIs, weights: Tensor, image_ids: Tensor, targets: Targets, seed: Tensor
    ) -> LossSum:
        """Return the sum over sampled regions of logits [N, R, K+1], and what it is divided by."""
        loss = F.cross_entropy(logits.float().flatten(0, 1), rois.labels.flatten(), reduction="none")
        focal = (1 - torch.exp(-loss)) ** self.settings.gamma * loss
        return LossSum((focal * weights.flatten()).sum(), weights.sum())
