"""How the box branch learns classes and scores regions: classes that compete, or each class by itself.

Shape letters: N images, R sampled regions, P regions, K classes, M objects, V listed labels.
"""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from lightning_rcnn.functional.losses import LossSum, classification_loss, sigmoid_loss
from lightning_rcnn.functional.postprocess import softmax_scores
from lightning_rcnn.functional.sampling import random_keys
from lightning_rcnn.functional.targets import RoIs
from lightning_rcnn.parts import Part
from lightning_rcnn.settings import Settings
from lightning_rcnn.settings_checks import NonNegative, PositiveCount
from lightning_rcnn.structures import Targets

_PRIOR = 0.01
"""Probability of every class before training; without it the first steps learn little but that most are absent."""


@dataclass(frozen=True)
class ClassLossSettings(Settings, ABC):
    """Base of the settings of the loss of the classes."""

    @abstractmethod
    def build(self, num_classes: int) -> "ClassLoss":
        """Build the loss for K classes."""


@dataclass(frozen=True)
class SoftmaxLoss(ClassLossSettings):
    """Settings of the cross-entropy of classes and background that compete (Fast R-CNN section 2.3)."""

    def build(self, num_classes: int) -> "ClassLoss":
        """Build the loss."""
        return ClassLoss()


@dataclass(frozen=True)
class FederatedLoss(ClassLossSettings):
    """Settings of the federated loss (Zhou et al. 2021, arXiv 2103.07461; detectron2's `use_fed_loss`), for LVIS.

    Classes are learned by sigmoids, and of an image only a set of classes: those of its objects, those that its
    annotations list as absent (LVIS's `neg_category_ids`), and as many others, drawn in proportion to a power of the
    number of training images with them, as complete `num_classes`. A class that is not annotated exhaustively
    (`not_exhaustive_category_ids`) counts only in regions of its annotated objects.

    The set belongs to an image; detectron2's belongs to the images of a GPU and does not use the lists, so that it
    depends on how images are distributed. Classes start with the probability 0.01, as Zhou's do.

    Args:
        num_classes: number of classes of an image; all its objects' classes, if they are more.
        frequency_power: power of the number of images.
    """

    num_classes: PositiveCount = 50
    frequency_power: NonNegative = 0.5

    def build(self, num_classes: int) -> "ClassLoss":
        """Build the loss."""
        return FederatedClassLoss(self, num_classes)


class ClassLoss(Part):
    """The cross-entropy of K classes and background."""

    def initialize(self, class_logits: nn.Linear) -> None:
        """Set the first biases of the layer of the class logits; zeros are left."""

    def forward(
        self, logits: Tensor, rois: RoIs, weights: Tensor, image_ids: Tensor, targets: Targets, seed: Tensor
    ) -> LossSum:
        """Compute the loss of sampled regions.

        Args:
            logits: class logits [N, R, K+1], background first.
            rois: sampled regions.
            weights: [N, R], weight of each region; 0 for padding.
            image_ids: int64 [N].
            targets: ground truth.
            seed: int64 scalar, seed of what is drawn.
        """
        return LossSum(classification_loss(logits, rois.labels, weights), weights.sum())

    def scores(self, logits: Tensor) -> Tensor:
        """Return the scores of the classes [N, P, K] from logits [N, P, K+1]."""
        return softmax_scores(logits)


class FederatedClassLoss(ClassLoss):
    """The federated loss, see `FederatedLoss`.

    Attributes:
        class_images: float32 [K], number of training images with each class; ones before training.
    """

    class_images: Tensor

    def __init__(self, settings: FederatedLoss, num_classes: int) -> None:
        super().__init__()
        self.settings = settings
        self.register_buffer("class_images", torch.ones(num_classes))  # in checkpoints: validations draw by it, too

    def initialize(self, class_logits: nn.Linear) -> None:
        """Give each class the probability 0.01."""
        nn.init.constant_(class_logits.bias, -math.log(1 / _PRIOR - 1))

    def forward(
        self, logits: Tensor, rois: RoIs, weights: Tensor, image_ids: Tensor, targets: Targets, seed: Tensor
    ) -> LossSum:
        """Compute the sum over regions and counted classes, and the number of regions; see `ClassLoss`."""
        counts = self.counted_classes(targets, image_ids, seed)
        is_own = rois.labels[..., None] == torch.arange(1, logits.shape[-1], device=logits.device)
        is_counted = counts[:, None] & (is_own | ~_contains(targets.not_exhaustive_labels, counts)[:, None])
        total = sigmoid_loss(logits[..., 1:], is_own, is_counted & rois.is_valid[..., None])
        return LossSum(total, rois.is_valid.sum())

    def counted_classes(self, targets: Targets, image_ids: Tensor, seed: Tensor) -> Tensor:
        """Choose the classes that count in each image, bool [N, K]."""
        keys = random_keys(seed + 1, image_ids, len(self.class_images))  # the seed itself draws the regions
        # The largest u ** (1 / w) are a draw in proportion to w, without replacement (Efraimidis and Spirakis 2006).
        frequency = self.class_images**self.settings.frequency_power
        priority = torch.where(frequency > 0, keys.clamp(min=2.0**-25).log() / frequency, -torch.inf)
        is_present = _contains(targets.labels, priority)
        priority = torch.where(_contains(targets.negative_labels, priority), 1.0, priority)
        priority = torch.where(is_present, 2.0, priority)
        last = priority.topk(min(self.settings.num_classes, priority.shape[1]), dim=1).values[:, -1:]
        return (priority >= last) & (priority > -torch.inf)

    def scores(self, logits: Tensor) -> Tensor:
        """Return the scores of the classes, which do not compete; see `ClassLoss`."""
        return logits[..., 1:].float().sigmoid()


def _contains(labels: Tensor | None, like: Tensor) -> Tensor:
    """Tell which classes are in lists of labels.

    Args:
        labels: int64 [N, V], 1..K, padded with less; None for empty lists.
        like: [N, K].

    Returns:
        Bool [N, K].
    """
    images, num_classes = like.shape
    found = torch.zeros((images, num_classes + 1), dtype=torch.bool, device=like.device)
    if labels is not None:
        found = found.scatter(1, labels.clamp(min=0), True)
    return found[:, 1:]
