"""The region proposal branch: network, targets, losses and proposals (Faster R-CNN section 3).

Shape letters: N images, A anchors of a level, B anchors of all levels.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from lightning_rcnn.backbones.base import Backbone
from lightning_rcnn.box_losses import BoxLossSettings, BoxSamples, SmoothL1Loss
from lightning_rcnn.functional.losses import LossSum, objectness_loss
from lightning_rcnn.functional.sampling import Samples
from lightning_rcnn.functional.targets import (
    AnchorLabels,
    AnchorTargets,
    LowQualityTarget,
    anchor_targets,
    label_anchors,
)
from lightning_rcnn.ops.gather import gather_boxes
from lightning_rcnn.parts import Part
from lightning_rcnn.rpn.anchors import AnchorSettings
from lightning_rcnn.rpn.head import RPNHead
from lightning_rcnn.rpn.proposals import RPN_BOX_WEIGHTS, ProposalRanking, select_proposals
from lightning_rcnn.settings import Settings
from lightning_rcnn.settings_checks import Count, Fraction, NonNegative, PositiveCount
from lightning_rcnn.structures import NO_IMAGE, Inputs, Proposals, Targets


@dataclass(frozen=True)
class RPNSettings(Settings):
    """Settings of the region proposal branch.

    Args:
        anchors: sizes, ratios and conventions of the anchors.
        num_layers: number of 3 x 3 convolutions; 2 in torchvision's second version.
        positive_iou, negative_iou: IoU thresholds of positive and negative anchors (section 3.1.2).
        samples_per_image, positive_fraction: number of sampled anchors, and the maximum fraction of positives (3.1.3).
        low_quality_iou: IoU that the best anchor of an object needs to be positive below `positive_iou`; any with 0,
            0.3 in mmdetection.
        low_quality_target: what the best anchor of an object learns if it overlaps another one more: this "best_object"
            (torchvision, detectron2), or its "own_object" (mmdetection).
        cross_boundary_anchors: "keep" or "ignore" anchors that cross the image boundary in training (section 3.3);
            "ignore_edge" also ignores those that end at the right or lower edge (mmdetection); "discard" ignores the
            same as "ignore_edge", but after matching, so that an object whose best anchor is among them has none
            (detectron2).
        padding_divisor: anchors whose center lies beyond the image, padded to a multiple of this, pixels, take no part
            in training (32 in mmdetection); 0 to keep all.
        crowd_ioa: fraction of its area in a crowd above which an anchor is not a negative (0.7 in Detectron); None
            drops crowds from training, as torchvision's references and detectron2 do.
        loss_denominator: "sampled", the number of sampled anchors (torchvision); "fixed", samples x images
            (detectron2); or "sampled_or_one", in which the positives of an image, and its negatives, count as at least
            one (mmdetection).
        box_loss: loss of the boxes: `SmoothL1Loss`, or one by overlap, such as `GIoULoss`.
        pre_nms_top_n: limit of boxes per level before NMS, in training and in evaluation.
        post_nms_top_n: limit of boxes per image after NMS, in training and in evaluation.
        nms_iou: IoU threshold of NMS (section 3.3).
        min_size: minimum side of a proposal, pixels; with 0 (detectron2) only empty boxes are dropped.
        ranking: rank proposals by "logit" (detectron2) or "probability" (torchvision).
        score_threshold: minimum objectness of a proposal, a probability; 0.05 in torchvision's MobileNets.
        min_scale: least factor of a side of an anchor, 0.016 in mmdetection; 0 for no limit.
    """

    anchors: AnchorSettings = AnchorSettings()
    num_layers: PositiveCount = 1
    positive_iou: Fraction = 0.7
    negative_iou: Fraction = 0.3
    samples_per_image: PositiveCount = 256
    positive_fraction: Fraction = 0.5
    low_quality_iou: Fraction = 0.0
    low_quality_target: LowQualityTarget = "best_object"
    cross_boundary_anchors: Literal["keep", "ignore", "ignore_edge", "discard"] = "keep"
    padding_divisor: Count = 0
    crowd_ioa: Fraction | None = None
    loss_denominator: Literal["sampled", "fixed", "sampled_or_one"] = "sampled"
    box_loss: BoxLossSettings = SmoothL1Loss()
    pre_nms_top_n: tuple[PositiveCount, PositiveCount] = (2000, 1000)
    post_nms_top_n: tuple[PositiveCount, PositiveCount] = (2000, 1000)
    nms_iou: Fraction = 0.7
    min_size: NonNegative = 1e-3
    ranking: ProposalRanking = "logit"
    score_threshold: Fraction = 0.0
    min_scale: Fraction = 0.0

    def build(self, backbone: Backbone) -> "RPN":
        """Build the branch for the feature maps of a backbone.

        Raises:
            InputError: the number of anchor sizes differs from that of the levels.
        """
        return RPN(self, backbone)


class RPN(Part):
    """The region proposal network, "an attention mechanism that tells the heads where to look" (section 3).

    Args:
        settings: settings of the branch.
        backbone: backbone with the strides and channels of the feature maps.
    """

    loss_names: tuple[str, ...] = ("loss_objectness", "loss_rpn_box")
    profiled: ClassVar[Mapping[str, str]] = {"head": "RPN", "_select": "proposals", "_targets": "targets"}
    compiled_layers: tuple[str, ...] = ("head",)

    def __init__(self, settings: RPNSettings, backbone: Backbone) -> None:
        super().__init__()
        self.settings = settings
        self.anchors = settings.anchors.build(backbone.strides)
        self.box_loss = settings.box_loss.build()
        self.head = RPNHead(backbone.out_channels, self.anchors.num_per_position, settings.num_layers)

    def losses(
        self, features: list[Tensor], inputs: Inputs, targets: Targets, seed: Tensor
    ) -> tuple[dict[str, LossSum], Proposals]:
        """Compute `loss_objectness` and `loss_rpn_box` (section 3.1.2, equation 1), and the proposals.

        No gradient passes through the proposals (section 3.2).

        Args:
            features: feature maps of the backbone.
            inputs: images and their sizes.
            targets: ground truth.
            seed: int64 scalar, seed of the sampling of anchors.
        """
        anchors, logits, deltas = self._score(features, inputs.images)
        all_anchors = torch.cat(anchors)
        sampled = self._targets(all_anchors, targets, inputs, seed)
        index, is_positive, is_valid = sampled.samples
        objectness = objectness_loss(torch.cat(logits, 1).gather(1, index), is_positive, is_valid)
        sampled_deltas = gather_boxes(torch.cat(deltas, 1), index)
        samples = BoxSamples(sampled_deltas, sampled.gt_deltas, all_anchors[index], is_positive, RPN_BOX_WEIGHTS)
        box = self.box_loss(samples)
        num_anchors = self._number(sampled.samples, inputs.image_ids)
        sums = {"loss_objectness": LossSum(objectness, num_anchors), "loss_rpn_box": LossSum(box, num_anchors)}
        return sums, self._select(anchors, logits, deltas, inputs.image_sizes)

    def _number(self, samples: Samples, image_ids: Tensor) -> Tensor:
        """Return the number that both losses are divided by."""
        is_image = image_ids != NO_IMAGE
        if self.settings.loss_denominator == "fixed":
            return self.settings.samples_per_image * is_image.sum()
        if self.settings.loss_denominator == "sampled":
            return samples.is_valid.sum()
        positives = samples.is_positive.sum(dim=1).clamp(min=1)
        negatives = (samples.is_valid & ~samples.is_positive).sum(dim=1).clamp(min=1)
        return ((positives + negatives) * is_image).sum()

    def predict(self, features: list[Tensor], inputs: Inputs) -> Proposals:
        """Compute proposals, in the resized frame (section 3.1)."""
        return self._select(*self._score(features, inputs.images), inputs.image_sizes)

    def label(self, anchors: Tensor, targets: Targets, inputs: Inputs) -> AnchorLabels:
        """Label anchors [B, 4] as in training, before a part of them is sampled (section 3.1.2)."""
        return label_anchors(
            anchors,
            targets,
            inputs.image_ids,
            inputs.image_sizes,
            self._is_candidate(anchors, inputs.image_sizes),
            positive_iou=self.settings.positive_iou,
            negative_iou=self.settings.negative_iou,
            crowd_ioa=self.settings.crowd_ioa,
            low_quality_iou=self.settings.low_quality_iou,
            low_quality_target=self.settings.low_quality_target,
            matches_all=self.settings.cross_boundary_anchors == "discard",
        )

    def _score(self, features: list[Tensor], images: Tensor) -> tuple[list[Tensor], list[Tensor], list[Tensor]]:
        """Compute anchors [A, 4], objectness logits [N, A] and deltas [N, A, 4] per level (section 3.1)."""
        feature_sizes = [(feature.shape[2], feature.shape[3]) for feature in features]
        return self.anchors(feature_sizes, (images.shape[2], images.shape[3])), *self.head(features)

    def _targets(self, anchors: Tensor, targets: Targets, inputs: Inputs, seed: Tensor) -> AnchorTargets:
        return anchor_targets(
            anchors,
            targets,
            inputs.image_ids,
            inputs.image_sizes,
            self._is_candidate(anchors, inputs.image_sizes),
            seed,
            positive_iou=self.settings.positive_iou,
            negative_iou=self.settings.negative_iou,
            num_samples=self.settings.samples_per_image,
            positive_fraction=self.settings.positive_fraction,
            crowd_ioa=self.settings.crowd_ioa,
            box_weights=RPN_BOX_WEIGHTS,
            low_quality_iou=self.settings.low_quality_iou,
            low_quality_target=self.settings.low_quality_target,
            matches_all=self.settings.cross_boundary_anchors == "discard",
        )

    def _is_candidate(self, anchors: Tensor, image_sizes: Tensor) -> Tensor:
        """Return which anchors training may sample, bool [N or 1, B] (section 3.3)."""
        is_candidate = torch.ones((1, anchors.shape[0]), dtype=torch.bool, device=anchors.device)
        x1, y1, x2, y2 = anchors.unbind(-1)
        if divisor := self.settings.padding_divisor:
            height, width = ((image_sizes + divisor - 1) // divisor * divisor)[:, None, :].unbind(-1)
            # Centers are whole pixels, half a pixel of which outweighs what the corners are rounded by.
            is_candidate = is_candidate & (x1 + x2 < 2 * width - 1) & (y1 + y2 < 2 * height - 1)
        if self.settings.cross_boundary_anchors != "keep":
            height, width = image_sizes[:, None, :].unbind(-1)
            is_candidate = is_candidate & (x1 >= 0) & (y1 >= 0) & (x2 <= width) & (y2 <= height)
        # `Boxes.inside_box` of detectron2 and `anchor_inside_flags` of mmdetection take no box that ends at the edge.
        if self.settings.cross_boundary_anchors in ("ignore_edge", "discard"):
            is_candidate = is_candidate & (x2 < width) & (y2 < height)
        return is_candidate

    def _select(
        self, anchors: list[Tensor], logits: list[Tensor], deltas: list[Tensor], image_sizes: Tensor
    ) -> Proposals:
        phase = 0 if self.training else 1
        return select_proposals(
            anchors,
            [level.detach() for level in logits],
            [level.detach() for level in deltas],
            image_sizes,
            pre_nms_top_n=self.settings.pre_nms_top_n[phase],
            post_nms_top_n=self.settings.post_nms_top_n[phase],
            nms_iou=self.settings.nms_iou,
            min_size=self.settings.min_size,
            ranking=self.settings.ranking,
            score_threshold=self.settings.score_threshold,
            min_scale=self.settings.min_scale,
        )
