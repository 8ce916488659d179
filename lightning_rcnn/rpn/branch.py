"""The region proposal branch: network, targets, losses and proposals (Faster R-CNN section 3).

Shape letters: N images, A anchors of a level, B anchors of all levels.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from lightning_rcnn.backbones.base import Backbone
from lightning_rcnn.functional.losses import LossSum, box_loss, objectness_loss
from lightning_rcnn.functional.targets import AnchorTargets, anchor_targets
from lightning_rcnn.ops.gather import gather_boxes
from lightning_rcnn.parts import Part, Settings
from lightning_rcnn.rpn.anchors import AnchorSettings
from lightning_rcnn.rpn.head import RPNHead
from lightning_rcnn.rpn.proposals import RPN_BOX_WEIGHTS, ProposalRanking, select_proposals
from lightning_rcnn.settings_checks import Fraction, NonNegative, PositiveCount
from lightning_rcnn.structures import Inputs, Proposals, Targets


@dataclass(frozen=True)
class RPNSettings(Settings):
    """Settings of the region proposal branch.

    Args:
        anchors: sizes, ratios and the conventions in which references differ.
        num_layers: 3 x 3 convolutions of the network; 2 in torchvision's second version.
        positive_iou, negative_iou: section 3.1.2.
        samples_per_image, positive_fraction: section 3.1.3.
        cross_boundary_anchors: "keep" all in training, or "ignore" those that cross the image's edge (section 3.3).
        crowd_ioa: an anchor with more of its area in a crowd is no negative (0.7 in Detectron); None drops crowds from
            training, as torchvision's references and detectron2 do.
        loss_denominator: "sampled" anchors (torchvision) or "fixed" samples x images (detectron2).
        box_loss_beta: where smooth L1 turns linear; 1/9 (torchvision) or 0 (detectron2).
        pre_nms_top_n: boxes a level before suppression, in training and in evaluation.
        post_nms_top_n: boxes an image after it, in training and in evaluation.
        nms_iou: section 3.3.
        min_size: shortest side of a proposal, pixels; 0 (detectron2) for anything that is not empty.
        ranking: proposals compete by "logit" (detectron2) or "probability" (torchvision).
    """

    anchors: AnchorSettings = AnchorSettings()
    num_layers: PositiveCount = 1
    positive_iou: Fraction = 0.7
    negative_iou: Fraction = 0.3
    samples_per_image: PositiveCount = 256
    positive_fraction: Fraction = 0.5
    cross_boundary_anchors: Literal["keep", "ignore"] = "keep"
    crowd_ioa: Fraction | None = None
    loss_denominator: Literal["sampled", "fixed"] = "sampled"
    box_loss_beta: NonNegative = 1 / 9
    pre_nms_top_n: tuple[PositiveCount, PositiveCount] = (2000, 1000)
    post_nms_top_n: tuple[PositiveCount, PositiveCount] = (2000, 1000)
    nms_iou: Fraction = 0.7
    min_size: NonNegative = 1e-3
    ranking: ProposalRanking = "logit"

    def build(self, backbone: Backbone) -> "RPN":
        """Build the branch for a backbone's maps.

        Raises:
            InputError: there are not as many sizes of anchors as levels.
        """
        return RPN(self, backbone)


class RPN(Part):
    """The region proposal network, "an attention mechanism that tells the heads where to look" (section 3).

    Args:
        settings: see there.
        backbone: gives strides and channels.
    """

    loss_names: ClassVar[tuple[str, ...]] = ("loss_objectness", "loss_rpn_box")
    profiled: ClassVar[Mapping[str, str]] = {"head": "RPN", "_select": "proposals", "_targets": "targets"}
    compiled_layers: tuple[str, ...] = ("head",)

    def __init__(self, settings: RPNSettings, backbone: Backbone) -> None:
        super().__init__()
        self.settings = settings
        self.anchors = settings.anchors.build(backbone.strides)
        self.head = RPNHead(backbone.out_channels, self.anchors.num_per_position, settings.num_layers)

    def losses(
        self, features: list[Tensor], inputs: Inputs, targets: Targets, seed: Tensor
    ) -> tuple[dict[str, LossSum], Proposals]:
        """Compute `loss_objectness` and `loss_rpn_box` (section 3.1.2, equation 1), and the proposals.

        No gradient passes through the proposals (section 3.2).

        Args:
            features: of the backbone.
            inputs: what the network looks at.
            targets: ground truth.
            seed: int64 scalar, of the draw of anchors.
        """
        anchors, logits, deltas = self._score(features, inputs.images)
        sampled = self._targets(torch.cat(anchors), targets, inputs, seed)
        index, is_positive, is_valid = sampled.samples
        objectness = objectness_loss(torch.cat(logits, 1).gather(1, index), is_positive, is_valid)
        sampled_deltas = gather_boxes(torch.cat(deltas, 1), index)
        box = box_loss(sampled_deltas, sampled.gt_deltas, is_positive, self.settings.box_loss_beta)
        num_anchors = is_valid.sum()
        if self.settings.loss_denominator == "fixed":
            num_anchors = torch.full_like(num_anchors, self.settings.samples_per_image * len(inputs.image_ids))
        sums = {"loss_objectness": LossSum(objectness, num_anchors), "loss_rpn_box": LossSum(box, num_anchors)}
        return sums, self._select(anchors, logits, deltas, inputs.image_sizes)

    def predict(self, features: list[Tensor], inputs: Inputs) -> Proposals:
        """Propose regions, in the resized frame (section 3.1)."""
        return self._select(*self._score(features, inputs.images), inputs.image_sizes)

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
        )

    def _is_candidate(self, anchors: Tensor, image_sizes: Tensor) -> Tensor:
        """Bool [N or 1, B]: anchors that training may draw (section 3.3)."""
        if self.settings.cross_boundary_anchors == "keep":
            return torch.ones((1, anchors.shape[0]), dtype=torch.bool, device=anchors.device)
        height, width = image_sizes[:, None, :].unbind(-1)
        x1, y1, x2, y2 = anchors.unbind(-1)
        return (x1 >= 0) & (y1 >= 0) & (x2 <= width) & (y2 <= height)

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
        )
