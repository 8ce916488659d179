"""The mask branch: network, targets, losses and masks (Mask R-CNN section 3).

Shape letters: N images, R sampled regions, B regions that the network runs on, D detections, K classes, S side of a
mask.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal, Protocol

from torch import Tensor

from lightning_rcnn.backbones.base import Backbone
from lightning_rcnn.backbones.norms import NormName, norm_layer
from lightning_rcnn.errors import InputError
from lightning_rcnn.functional.losses import LossSum, mask_loss
from lightning_rcnn.functional.targets import RoIs
from lightning_rcnn.masks.paste import PasteRule
from lightning_rcnn.ops.mask_targets import align_bitmaps, fill_polygons, has_mask
from lightning_rcnn.parts import Part
from lightning_rcnn.roi_heads.active import active_indices
from lightning_rcnn.roi_heads.box_predictions import RegionSampler
from lightning_rcnn.roi_heads.mask_head import MaskHead
from lightning_rcnn.roi_heads.pooler import PooledFeatures, RoIPooler, as_rois
from lightning_rcnn.settings import Settings
from lightning_rcnn.settings_checks import Count, NonNegative, PositiveCount
from lightning_rcnn.structures import Bitmaps, Detections, Inputs, MaskForm, Masks, Targets

MaskTarget = Literal["soft", "thresholded", "polygon"]


class MaskPredictions(Protocol):
    """What a detector calls of a mask branch, whoever wrote it."""

    def losses(
        self, pooled: PooledFeatures, rois: RoIs, inputs: Inputs, targets: Targets, seed: Tensor
    ) -> dict[str, LossSum]:
        """See `MaskBranch`."""

    def predict(self, pooled: PooledFeatures, detections: Detections) -> Detections:
        """See `MaskBranch`."""


@dataclass(frozen=True)
class MaskBranchSettings(Settings, ABC):
    """Base of the settings of mask branches.

    Args:
        paste: rule that pastes a mask into its image: "exact", sampled at pixel centers and thresholded at one half
            (detectron2), or "integer", resized to a box of whole pixels (torchvision).
    """

    paste: PasteRule = "exact"

    @property
    @abstractmethod
    def form(self) -> MaskForm:
        """Form of the ground-truth masks that the branch trains on."""

    @abstractmethod
    def build(self, backbone: Backbone, pooler: RoIPooler, box: RegionSampler, num_classes: int) -> MaskPredictions:
        """Build the branch, a `Part`."""


@dataclass(frozen=True)
class MaskSettings(MaskBranchSettings):
    """Settings of the mask branch.

    Args:
        pooled_size: side of a region pooled for its mask, half of the mask's side; 14 if not given. It cannot be given
            with a "C4" backbone, where masks share the regions pooled for boxes.
        num_layers: number of convolutions; if not given 0 with a "C4" backbone, else 4 (figure 4).
        width: channels of the network.
        norm: norm after each convolution; None for a bias instead. "batch_norm" is torchvision's second version; in
            training on a GPU its statistics include padding.
        norm_epsilon: epsilon of the norms.
        target: target mask of a positive region: "soft", the average of the annotated bitmap in each cell
            (torchvision); "thresholded", whether this average is at least one half (detectron2 with bitmaps); or
            "polygon", whether the center of the cell is inside the outline (detectron2 with polygons rasterizes them
            like the COCO API, which differs in less than one cell of a hundred, at the outline). The first one samples
            by the convention `model.pooler.aligned`, the second one aligned.
        paste: as in `MaskBranchSettings`.
    """

    pooled_size: PositiveCount | None = None
    num_layers: Count | None = None
    width: PositiveCount = 256
    norm: NormName | None = None
    norm_epsilon: NonNegative = 1e-5
    target: MaskTarget = "soft"

    @property
    def form(self) -> MaskForm:
        """Form of the ground-truth masks that the target needs."""
        return "polygons" if self.target == "polygon" else "bitmaps"

    def build(self, backbone: Backbone, pooler: RoIPooler, box: RegionSampler, num_classes: int) -> "MaskBranch":
        """Build the branch.

        Raises:
            InputError: `pooled_size` is given with a "C4" backbone.
        """
        if self.pooled_size is not None and pooler.has_stage:
            raise InputError(
                "model.mask: pooled_size: with a C4 backbone masks come from the regions of boxes; set "
                "model.box.pooled_size"
            )
        return MaskBranch(self, backbone, pooler, box, num_classes)


class MaskBranch(Part):
    """Branch that predicts a mask for each region and class with a small fully convolutional network.

    Args:
        settings: settings of the branch.
        backbone: backbone with the channels of a pooled region.
        pooler: RoI pooling.
        box: box branch whose sampled regions and detections get masks.
        num_classes: number of classes K, without background.
    """

    class_layers: tuple[str, ...] = ("head.logits",)
    compiled_layers: tuple[str, ...] = ("head",)
    dynamic_layers: ClassVar[tuple[str, ...]] = ("head",)
    loss_names: tuple[str, ...] = ("loss_mask",)
    profiled: ClassVar[Mapping[str, str]] = {"head": "masks", "_targets": "masks"}

    def __init__(
        self, settings: MaskSettings, backbone: Backbone, pooler: RoIPooler, box: RegionSampler, num_classes: int
    ) -> None:
        super().__init__()
        self.settings = settings
        self.shares_regions = pooler.has_stage
        self.pooled_size = box.pooled_size if self.shares_regions else settings.pooled_size or 14
        self.max_positives = box.max_positives
        # What is thresholded is aligned in detectron2 and mmdetection, however they pool.
        self.is_aligned = pooler.settings.aligned or settings.target == "thresholded"
        default_layers = 0 if self.shares_regions else 4
        num_layers = default_layers if settings.num_layers is None else settings.num_layers
        norm = norm_layer(settings.norm, settings.norm_epsilon) if settings.norm else None
        self.head = MaskHead(backbone.region_channels, num_layers, settings.width, num_classes, norm)

    def losses(
        self, pooled: PooledFeatures, rois: RoIs, inputs: Inputs, targets: Targets, seed: Tensor
    ) -> dict[str, LossSum]:
        """Compute `loss_mask` on the positive regions, for the mask of their own class (section 3).

        Args:
            pooled: function that pools regions from the feature maps.
            rois: regions that the box branch sampled; where they have features, these may be shared.
            inputs: images and their sizes.
            targets: ground truth.
            seed: int64 scalar, seed of what a branch draws; this one draws nothing.

        Raises:
            InputError: the ground truth has no masks.
        """
        has_target = rois.is_positive & has_mask(required_masks(targets)).gather(1, rois.gt_index)
        first = slice(self.max_positives)  # positives come first, so these are all of them
        boxes, has_target, gt_index = rois.boxes[:, first], has_target[:, first], rois.gt_index[:, first]
        active = active_indices(has_target)
        if self.shares_regions and rois.features is not None:
            features = rois.features.unflatten(0, rois.is_valid.shape)[:, first].flatten(0, 1)[active]
        else:
            features = pooled(as_rois(boxes, has_target)[active], self.pooled_size)
        logits = self.head(features)
        gt_masks = self._targets(targets, boxes, gt_index, has_target, logits.shape[-1])
        own_logits = of_class(logits, rois.labels[:, first].flatten()[active])
        loss = mask_loss(own_logits, gt_masks.flatten(0, 1)[active], has_target.flatten()[active])
        return {"loss_mask": LossSum(loss, has_target.sum())}

    def predict(self, pooled: PooledFeatures, detections: Detections) -> Detections:
        """Add masks to detections in the resized frame.

        Section 3.1, inference: the branch runs on the detections, whose boxes are better than the proposals.
        """
        is_detection = detections.labels > 0
        active = active_indices(is_detection)
        features = pooled(as_rois(detections.boxes, is_detection)[active], self.pooled_size)
        logits = of_class(self.head(features), detections.labels.flatten()[active])
        own_masks = logits.sigmoid() * is_detection.flatten()[active, None, None]
        masks = logits.new_zeros((is_detection.numel(), *logits.shape[1:])).index_copy(0, active, own_masks)
        return detections._replace(masks=masks.unflatten(0, is_detection.shape))

    def _targets(self, targets: Targets, boxes: Tensor, gt_index: Tensor, has_target: Tensor, size: int) -> Tensor:
        """Compute the target masks of regions, float32 [N, R, S, S]."""
        if isinstance(targets.masks, Bitmaps):
            gt_masks = align_bitmaps(targets.masks, boxes, gt_index, has_target, aligned=self.is_aligned, size=size)
        else:
            assert targets.masks is not None
            gt_masks = fill_polygons(targets.masks, boxes, gt_index, has_target, size=size)
        return (gt_masks >= 0.5).float() if self.settings.target == "thresholded" else gt_masks


def required_masks(targets: Targets) -> Masks:
    """Return the masks of a batch to train on.

    Raises:
        InputError: it has none.
    """
    if targets.masks is None:
        raise InputError("Mask R-CNN needs masks to train on, and the batch has none: pack a set with segmentations")
    return targets.masks


def of_class(logits: Tensor, labels: Tensor) -> Tensor:
    """Select from logits [B, K, S, S] those of `labels` [B], 1..K, as float32 [B, S, S]; label 0 gets class 1."""
    own = (labels - 1).clamp(min=0)[:, None, None, None].expand(-1, 1, *logits.shape[2:])
    return logits.gather(1, own).squeeze(1).float()
