"""How the RPN and the box branch learn boxes: by their deltas, or by the overlap of the boxes themselves.

Shape letters: N images, S sampled anchors or regions of an image.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from lightning_rcnn.functional.boxes import decode
from lightning_rcnn.functional.iou_losses import ciou_loss, diou_loss, giou_loss
from lightning_rcnn.functional.losses import box_loss
from lightning_rcnn.parts import Part
from lightning_rcnn.settings import Settings
from lightning_rcnn.settings_checks import NonNegative, Positive


@dataclass(frozen=True)
class BoxLossSettings(Settings, ABC):
    """Base of the settings of the loss of boxes.

    Args:
        weight: factor of the loss.
    """

    weight: Positive = 1.0

    @abstractmethod
    def build(self) -> "BoxLoss":
        """Build the loss."""


@dataclass(frozen=True)
class SmoothL1Loss(BoxLossSettings):
    """Settings of the smooth L1 loss of deltas (Fast R-CNN equation 3).

    Args:
        weight: factor of the loss.
        beta: distance at which it turns from quadratic to linear; 1/9 in torchvision, 0 (plain L1) in detectron2.
    """

    beta: NonNegative = 1 / 9

    def build(self) -> "BoxLoss":
        """Build the loss."""
        return DeltaLoss(self)


@dataclass(frozen=True)
class OverlapLossSettings(BoxLossSettings):
    """Base of the settings of a loss by overlap."""

    @abstractmethod
    def of_pairs(self, boxes: Tensor, gt_boxes: Tensor) -> Tensor:
        """Compute the losses [...] of boxes and ground truth [..., 4], pixels."""

    def build(self) -> "BoxLoss":
        """Build the loss."""
        return OverlapLoss(self)


@dataclass(frozen=True)
class GIoULoss(OverlapLossSettings):
    """Settings of the generalized IoU loss, see `functional/iou_losses.py`; detectron2's "giou"."""

    def of_pairs(self, boxes: Tensor, gt_boxes: Tensor) -> Tensor:
        """Compute the losses, see `OverlapLossSettings`."""
        return giou_loss(boxes, gt_boxes)


@dataclass(frozen=True)
class DIoULoss(OverlapLossSettings):
    """Settings of the distance IoU loss, see `functional/iou_losses.py`; detectron2's "diou"."""

    def of_pairs(self, boxes: Tensor, gt_boxes: Tensor) -> Tensor:
        """Compute the losses, see `OverlapLossSettings`."""
        return diou_loss(boxes, gt_boxes)


@dataclass(frozen=True)
class CIoULoss(OverlapLossSettings):
    """Settings of the complete IoU loss, see `functional/iou_losses.py`; detectron2's "ciou"."""

    def of_pairs(self, boxes: Tensor, gt_boxes: Tensor) -> Tensor:
        """Compute the losses, see `OverlapLossSettings`."""
        return ciou_loss(boxes, gt_boxes)


class BoxSamples(NamedTuple):
    """The deltas of sampled anchors or regions, and what they refine.

    Attributes:
        deltas, gt_deltas: [N, S, 4], predictions and targets.
        references: float32 [N, S, 4], the anchors or regions that the deltas refine, pixels.
        is_positive: bool [N, S]; other samples do not count, and may hold NaN.
        box_weights: factors of the deltas.
    """

    deltas: Tensor
    gt_deltas: Tensor
    references: Tensor
    is_positive: Tensor
    box_weights: tuple[float, float, float, float]


class BoxLoss(Part):
    """Base of the losses of boxes."""

    def forward(self, samples: BoxSamples) -> Tensor:
        """Sum the losses of positives."""
        raise NotImplementedError


class DeltaLoss(BoxLoss):
    """The smooth L1 loss of deltas."""

    def __init__(self, settings: SmoothL1Loss) -> None:
        super().__init__()
        self.settings = settings

    def forward(self, samples: BoxSamples) -> Tensor:
        """Sum the losses of positives."""
        loss = box_loss(samples.deltas, samples.gt_deltas, samples.is_positive, self.settings.beta)
        return self.settings.weight * loss


class OverlapLoss(BoxLoss):
    """A loss of the boxes that deltas make of their references."""

    unit_box: Tensor

    def __init__(self, settings: OverlapLossSettings) -> None:
        super().__init__()
        self.settings = settings
        self.register_buffer("unit_box", torch.tensor([0.0, 0.0, 1.0, 1.0]), persistent=False)

    def forward(self, samples: BoxSamples) -> Tensor:
        """Sum the losses of positives."""
        is_counted = samples.is_positive[..., None]
        # Replaced before the loss: a NaN times 0 is NaN in the gradient.
        references = torch.where(is_counted, samples.references, self.unit_box)
        boxes, gt_boxes = (
            decode(torch.where(is_counted, values.float(), 0.0), references, samples.box_weights)
            for values in (samples.deltas, samples.gt_deltas)
        )
        losses = self.settings.of_pairs(boxes, gt_boxes)
        return self.settings.weight * torch.where(samples.is_positive, losses, 0.0).sum()
