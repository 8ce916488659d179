"""The box branch: network, targets, losses and detections (Fast R-CNN section 2).

Shape letters: N images, P proposals, R sampled regions, B regions of the whole batch, K classes.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from lightning_rcnn.backbones.base import Backbone
from lightning_rcnn.box_losses import BoxLossSettings, BoxSamples, SmoothL1Loss
from lightning_rcnn.errors import InputError
from lightning_rcnn.functional.boxes import decode
from lightning_rcnn.functional.losses import LossSum
from lightning_rcnn.functional.postprocess import NMSKind, select_detections
from lightning_rcnn.functional.targets import RoIs, roi_targets
from lightning_rcnn.parts import Part
from lightning_rcnn.roi_heads.box_head import AveragePool, BoxHeadSettings, BoxPredictor, TwoLayerHead
from lightning_rcnn.roi_heads.box_predictions import BoxPredictions
from lightning_rcnn.roi_heads.class_losses import ClassLossSettings, SoftmaxLoss
from lightning_rcnn.roi_heads.pooler import PooledFeatures, RoIPooler, as_rois
from lightning_rcnn.settings import Settings
from lightning_rcnn.settings_checks import Fraction, NonNegative, Positive, PositiveCount
from lightning_rcnn.structures import Detections, Inputs, Proposals, Targets

BOX_WEIGHTS = (10.0, 10.0, 5.0, 5.0)
"""Weights that scale box deltas, about 0.1 and 0.2, to unit variance (Fast R-CNN's code, and all later ones)."""


@dataclass(frozen=True)
class BoxSettings(Settings):
    """Settings of the box branch.

    Args:
        head: network between pooled regions and predictions: `TwoLayerHead`, `ConvolutionalHead`, or custom settings. A
            "C4" backbone does not use it: its last stage is the head.
        pooled_size: side of a pooled region; that of the backbone (14 with "C4", 6 with AlexNet, else 7) if not given.
        positive_iou: IoU with an object from which on a region is positive.
        negative_iou, lowest_negative_iou: regions with an IoU below the first and not below the second are background;
            other regions that are not positive are ignored.
        low_quality_iou: the best proposal of an object learns it if their IoU reaches this (mmdetection's
            `match_low_quality`); None: a region learns the object that it overlaps most.
        samples_per_image, positive_fraction: number of sampled regions, and the maximum fraction of positives.
        crowd_ioa: fraction of its area in a crowd above which a region is not a negative (0.7 in Detectron); None drops
            crowds from training, as torchvision's references and detectron2 do.
        box_loss: loss of the boxes: `SmoothL1Loss`, or one by overlap, such as `GIoULoss`.
        box_weights: factors of the four box deltas.
        class_agnostic: whether all classes share one box, instead of one each.
        class_loss: loss of the classes: `SoftmaxLoss`, or `FederatedLoss` for sets such as LVIS.
        class_weights: weights of the classes in `loss_classifier`, in the order of the class names; background has 1.
            The loss is the weighted mean, as in torch's `cross_entropy(weight=)`. Only with `SoftmaxLoss`.
        score_threshold: minimum score of detections, exclusive.
        nms: "hard", or "soft": a box that a better one of its class overlaps keeps a lower score (Soft-NMS, linear).
        nms_iou: IoU threshold of either.
        nms_across_classes: whether boxes of different classes suppress each other, too, so that an object has one
            class. The papers and references suppress class by class, which gives the higher AP.
        detections_per_image: limit of detections per image.
        min_size: minimum side of a box before NMS, pixels; with 0 (detectron2) empty boxes are dropped in the original
            frame only.
        min_scale: least factor of a side of a proposal, 0.016 in mmdetection; 0 for no limit.
        passes_on: boxes that mask and keypoint branches train on: "sampled", those of the proposals, or "predicted",
            what this branch makes of them (detectron2's `TRAIN_ON_PRED_BOXES`, in its PointRend).

    Raises:
        InputError: no region could be background, or there are class weights without `SoftmaxLoss`.
    """

    conventions: ClassVar[tuple[str, ...]] = ("class_loss",)

    head: BoxHeadSettings = TwoLayerHead()
    pooled_size: PositiveCount | None = None
    positive_iou: Fraction = 0.5
    negative_iou: Fraction = 0.5
    lowest_negative_iou: Fraction = 0.0
    low_quality_iou: Fraction | None = None
    samples_per_image: PositiveCount = 512
    positive_fraction: Fraction = 0.25
    crowd_ioa: Fraction | None = None
    box_loss: BoxLossSettings = SmoothL1Loss()
    box_weights: tuple[Positive, Positive, Positive, Positive] = BOX_WEIGHTS
    class_agnostic: bool = False
    class_loss: ClassLossSettings = SoftmaxLoss()
    class_weights: tuple[NonNegative, ...] | None = None
    score_threshold: Fraction = 0.05
    nms: NMSKind = "hard"
    nms_iou: Fraction = 0.5
    nms_across_classes: bool = False
    detections_per_image: PositiveCount = 100
    min_size: NonNegative = 1e-2
    min_scale: Fraction = 0.0
    passes_on: Literal["sampled", "predicted"] = "sampled"

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.lowest_negative_iou < self.negative_iou:
            raise InputError(
                f"model.box: lowest_negative_iou {self.lowest_negative_iou}: no region would be background; give less "
                f"than negative_iou {self.negative_iou}"
            )
        if self.class_weights is not None and not isinstance(self.class_loss, SoftmaxLoss):
            raise InputError(
                f"model.box: class_weights have no effect on {type(self.class_loss).__name__}; leave one of them out"
            )

    def build(self, backbone: Backbone, pooler: RoIPooler, num_classes: int) -> BoxPredictions:
        """Build the branch.

        Raises:
            InputError: `passes_on` is "predicted" with a "C4" backbone, whose masks share the regions of boxes.
        """
        if self.passes_on == "predicted" and pooler.has_stage:
            raise InputError(
                "model.box: passes_on predicted: with a C4 backbone masks come from the regions of boxes; leave it out"
            )
        return BoxBranch(self, backbone, pooler, num_classes)


class BoxStage(Part):
    """The network of a box branch, or of one stage of a cascade, and its losses.

    Args:
        settings, backbone, pooler, num_classes: as in `BoxBranch`.
        pretrained: fully connected layers for the head to start from.
    """

    class_layers: tuple[str, ...] = ("predictor", "class_loss")
    compiled_layers: tuple[str, ...] = ("head",)
    initial_weights: ClassVar[tuple[str, ...]] = ("pretrained",)
    class_weights: Tensor | None
    profiled: ClassVar[Mapping[str, str]] = {"head": "box head", "predictor": "box head", "sample": "targets"}

    def __init__(
        self,
        settings: BoxSettings,
        backbone: Backbone,
        pooler: RoIPooler,
        num_classes: int,
        pretrained: Sequence[nn.Linear] = (),
    ) -> None:
        super().__init__()
        if settings.class_weights is not None and len(settings.class_weights) != num_classes:
            raise InputError(
                f"model.box: class_weights has {len(settings.class_weights)} entries for {num_classes} classes; "
                "give one for each, without background"
            )
        self.settings = settings
        weights = None if settings.class_weights is None else torch.tensor([1.0, *settings.class_weights])
        self.register_buffer("class_weights", weights, persistent=False)
        self.pooled_size = settings.pooled_size or backbone.pooled_size
        channels = backbone.region_channels
        self.head: nn.Module
        if pooler.has_stage:
            self.head = AveragePool(channels)
        else:
            self.head = settings.head.build(channels, self.pooled_size, pretrained)
        self.predictor = BoxPredictor(self.head.out_features, num_classes, settings.class_agnostic)  # type: ignore[arg-type]  # an int in every head
        if settings.class_agnostic:
            self.class_layers = ("predictor.class_logits", "class_loss")
        self.class_loss = settings.class_loss.build(num_classes)
        self.box_loss = settings.box_loss.build()
        self.class_loss.initialize(self.predictor.class_logits)

    def sample(self, proposals: Proposals, targets: Targets, inputs: Inputs, seed: Tensor) -> RoIs:
        """Sample the regions that the branch trains on."""
        return roi_targets(
            proposals,
            targets,
            inputs.image_ids,
            seed,
            positive_iou=self.settings.positive_iou,
            negative_iou=(self.settings.lowest_negative_iou, self.settings.negative_iou),
            num_samples=self.settings.samples_per_image,
            positive_fraction=self.settings.positive_fraction,
            crowd_ioa=self.settings.crowd_ioa,
            box_weights=self.settings.box_weights,
            low_quality_iou=self.settings.low_quality_iou,
        )

    def score(self, features: Tensor, is_valid: Tensor) -> tuple[Tensor, Tensor]:
        """Compute class logits [N, R, K+1] and deltas [N, R, K, 4] of pooled regions [N * R, C, S, S] (section 2.1)."""
        class_logits, box_deltas = self.predictor(self.head(features))
        return class_logits.unflatten(0, is_valid.shape), box_deltas.unflatten(0, is_valid.shape)

    def losses_of(
        self, rois: RoIs, class_logits: Tensor, box_deltas: Tensor, inputs: Inputs, targets: Targets, seed: Tensor
    ) -> dict[str, LossSum]:
        """Compute the losses from class logits [N, R, K+1] and deltas [N, R, K, 4] of the sampled regions."""
        own_deltas = _of_own_class(rois, box_deltas)
        weights = self._class_weights(rois)
        classifier = self.class_loss(class_logits, rois, weights, inputs.image_ids, targets, seed)
        samples = BoxSamples(own_deltas, rois.gt_deltas, rois.boxes, rois.is_positive, self.settings.box_weights)
        box = self.box_loss(samples)
        num_regions = rois.is_valid.sum()
        return {"loss_classifier": classifier, "loss_box": LossSum(box, num_regions)}

    def _class_weights(self, rois: RoIs) -> Tensor:
        """Return the weight of each sampled region in the loss [N, R]; 0 or 1 without class weights."""
        if self.class_weights is None:
            return rois.is_valid
        return self.class_weights[rois.labels] * rois.is_valid


class BoxBranch(BoxStage):
    """Branch that classifies regions and refines their boxes.

    To write a custom branch, derive from `BoxSettings` and override `build`; a detector calls `losses` and `predict`,
    and reads the attributes below.

    Args:
        settings: settings of the branch.
        backbone: backbone with the channels and side of a pooled region, and pretrained layers.
        pooler: RoI pooling; if it has a region stage, the head is an average over positions.
        num_classes: number of classes K, without background.

    Attributes:
        pooled_size: side of a pooled region.
        max_positives: maximum number of sampled positives per image; they come first.
    """

    loss_names: tuple[str, ...] = ("loss_classifier", "loss_box")

    def __init__(self, settings: BoxSettings, backbone: Backbone, pooler: RoIPooler, num_classes: int) -> None:
        super().__init__(settings, backbone, pooler, num_classes, backbone.take_fully_connected())
        self.max_positives = int(settings.samples_per_image * settings.positive_fraction)

    def losses(
        self, pooled: PooledFeatures, proposals: Proposals, inputs: Inputs, targets: Targets, seed: Tensor
    ) -> tuple[dict[str, LossSum], RoIs]:
        """Compute `loss_classifier` of all sampled regions and `loss_box` of positives (section 2.3, equation 1).

        Args:
            pooled: function that pools regions from the feature maps.
            proposals: proposals to sample from; the ground truth is added.
            inputs: images and their sizes.
            targets: ground truth.
            seed: int64 scalar, seed of the sampling of regions.

        Returns:
            The losses, and the sampled regions with their pooled features, which other branches train on, too.
        """
        rois = self.sample(proposals, targets, inputs, seed)
        features = pooled(as_rois(rois.boxes, rois.is_valid), self.pooled_size)
        class_logits, box_deltas = self.score(features, rois.is_valid)
        losses = self.losses_of(rois, class_logits, box_deltas, inputs, targets, seed)
        return losses, self._passed_on(rois._replace(features=features), box_deltas)

    def predict(self, pooled: PooledFeatures, proposals: Proposals, inputs: Inputs) -> Detections:
        """Compute detections from the proposals, in the resized frame."""
        features = pooled(as_rois(proposals.boxes, proposals.is_valid), self.pooled_size)
        return self._select(proposals, *self.score(features, proposals.is_valid), inputs)

    def evaluate(
        self, pooled: PooledFeatures, proposals: Proposals, inputs: Inputs, targets: Targets, seed: Tensor
    ) -> tuple[Detections, dict[str, LossSum], RoIs]:
        """Detect as `predict` and compute losses as `losses`, with one pass of the head over the proposals.

        Only the ground truth, which is sampled too, goes through the head for the losses.

        Returns:
            Detections, losses, and the sampled regions without features.
        """
        rois = self.sample(proposals, targets, inputs, seed)
        scored = self.score(pooled(as_rois(proposals.boxes, proposals.is_valid), self.pooled_size), proposals.is_valid)
        is_object = targets.is_object
        scored_gt = self.score(pooled(as_rois(targets.boxes, is_object), self.pooled_size), is_object)
        image = torch.arange(len(is_object), device=is_object.device)[:, None]
        class_logits, box_deltas = (
            torch.cat(both, dim=1)[image, rois.indices] for both in zip(scored, scored_gt, strict=True)
        )
        losses = self.losses_of(rois, class_logits, box_deltas, inputs, targets, seed)
        return self._select(proposals, *scored, inputs), losses, self._passed_on(rois, box_deltas)

    def _passed_on(self, rois: RoIs, box_deltas: Tensor) -> RoIs:
        """Return the regions that other branches train on; no gradient passes through their boxes."""
        if self.settings.passes_on == "sampled":
            return rois
        deltas, settings = _of_own_class(rois, box_deltas).detach(), self.settings
        boxes = decode(deltas, rois.boxes, settings.box_weights, settings.min_scale)
        return rois._replace(boxes=boxes, features=None)

    def _select(self, proposals: Proposals, class_logits: Tensor, box_deltas: Tensor, inputs: Inputs) -> Detections:
        """Select detections from class logits [N, P, K+1] and deltas [N, P, K, 4] of the proposals."""
        return select_detections(
            proposals,
            class_logits,
            box_deltas,
            inputs.image_sizes,
            box_weights=self.settings.box_weights,
            score_threshold=self.settings.score_threshold,
            nms=self.settings.nms,
            nms_iou=self.settings.nms_iou,
            nms_across_classes=self.settings.nms_across_classes,
            max_detections=self.settings.detections_per_image,
            min_size=self.settings.min_size,
            scores_of=self.class_loss.scores,
            min_scale=self.settings.min_scale,
        )


def _of_own_class(rois: RoIs, box_deltas: Tensor) -> Tensor:
    """Return the deltas [N, R, 4] of the class of each region, of [N, R, K, 4]; those of class 1 for background."""
    own_class = (rois.labels - 1).clamp(min=0)[..., None, None].expand(-1, -1, 1, 4)
    return box_deltas.gather(2, own_class).squeeze(2)
