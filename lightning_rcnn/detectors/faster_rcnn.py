"""Faster R-CNN: towards real-time object detection with region proposal networks.

Ren, He, Girshick, Sun, NeurIPS 2015, arXiv 1506.01497.

Stages: (1) a backbone computes features of the whole image once; (2) the region proposal network (RPN) scores k
anchors at every position and moves them to objects; (3) the box head classifies the best of them and refines each.
What changed since Fast R-CNN: proposals come from the network itself, sharing its features, instead of from selective
search; they cost milliseconds, and are trained with the rest.

Where we deviate, and why: both parts are trained jointly in one go ("approximate joint training", section 3.2),
because every implementation since does; a feature pyramid (FPN, arXiv 1612.03144) is the default, the paper's single
map is `neck="c4"`; RoIAlign (Mask R-CNN section 3) pools regions. Numbers default to torchvision's reference
implementation, with exact anchors and fixed strides as in detectron2.

Shape letters: N images, A anchors of a level, P proposals.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor

from lightning_rcnn.detectors.region_based import RegionBasedDetector
from lightning_rcnn.detectors.transfer import start_from
from lightning_rcnn.errors import InputError
from lightning_rcnn.losses import LossSum, box_loss, objectness_loss
from lightning_rcnn.proposals.anchors import AnchorGenerator, AnchorOrder, AnchorRounding, AnchorStride
from lightning_rcnn.proposals.rpn import ProposalRanking, RegionProposalHead, select_proposals
from lightning_rcnn.structures import Detections, Inputs, Proposals, Targets
from lightning_rcnn.targets import anchor_targets


class FasterRCNN(RegionBasedDetector):
    """Faster R-CNN.

    Args:
        class_names: foreground classes in order; only the command line may leave it to the shards.
        anchor_sizes: pixels; with neck "fpn" one a level, else all on the one map.
        anchor_ratios: height / width.
        anchor_rounding: "exact" (detectron2) or "rounded" (torchvision).
        anchor_order: "ratio_major" (torchvision) or "size_major" (detectron2).
        anchor_stride: "fixed" (detectron2) or "image_ratio" (torchvision).
        cross_boundary_anchors: "keep" all in training, or "ignore" those that cross the image's edge (section 3.3).
        rpn_layers: 3 x 3 convolutions of the RPN; 2 in torchvision's second version.
        rpn_positive_iou, rpn_negative_iou: section 3.1.2.
        rpn_samples_per_image, rpn_positive_fraction: section 3.1.3.
        rpn_loss_denominator: "sampled" anchors (torchvision) or "fixed" samples x images (detectron2).
        rpn_box_loss_beta: where smooth L1 turns linear; 1/9 (torchvision) or 0 (detectron2).
        rpn_pre_nms_top_n: boxes a level before suppression, in training and in evaluation.
        rpn_post_nms_top_n: boxes an image after it, likewise.
        rpn_nms_iou: section 3.3.
        rpn_min_size: shortest side of a proposal, pixels; 0 (detectron2) for anything that is not empty.
        rpn_ranking: proposals compete by "logit" (detectron2) or "probability" (torchvision).
        weights: a detector to start from: a file or URL of ours, torchvision's or detectron2's, or a name of
            torchvision's (`fasterrcnn_resnet50_fpn`); predictors for other classes start anew.
        **kwargs: of `RegionBasedDetector` and `Detector`.
    """

    loss_names = ("loss_objectness", "loss_rpn_box", *RegionBasedDetector.loss_names)

    def __init__(
        self,
        class_names: Sequence[str] = (),
        anchor_sizes: Sequence[float] = (32, 64, 128, 256, 512),
        anchor_ratios: Sequence[float] = (0.5, 1.0, 2.0),
        anchor_rounding: AnchorRounding = "exact",
        anchor_order: AnchorOrder = "ratio_major",
        anchor_stride: AnchorStride = "fixed",
        cross_boundary_anchors: Literal["keep", "ignore"] = "keep",
        rpn_layers: int = 1,
        rpn_positive_iou: float = 0.7,
        rpn_negative_iou: float = 0.3,
        rpn_samples_per_image: int = 256,
        rpn_positive_fraction: float = 0.5,
        rpn_loss_denominator: Literal["sampled", "fixed"] = "sampled",
        rpn_box_loss_beta: float = 1 / 9,
        rpn_pre_nms_top_n: tuple[int, int] = (2000, 1000),
        rpn_post_nms_top_n: tuple[int, int] = (2000, 1000),
        rpn_nms_iou: float = 0.7,
        rpn_min_size: float = 1e-3,
        rpn_ranking: ProposalRanking = "logit",
        weights: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(class_names, **kwargs)
        strides = self.backbone.strides
        level_sizes = [[size] for size in anchor_sizes] if len(strides) > 1 else [list(anchor_sizes)]
        if len(level_sizes) != len(strides):
            raise InputError(f"model.anchor_sizes: {len(strides)} levels need as many sizes, not {len(anchor_sizes)}")
        if rpn_layers < 1:
            raise InputError(f"model.rpn_layers {rpn_layers}: at least 1")
        self.anchors = AnchorGenerator(
            level_sizes, anchor_ratios, strides, anchor_rounding, anchor_order, anchor_stride
        )
        self.rpn = RegionProposalHead(self.backbone.out_channels, self.anchors.num_per_position, rpn_layers)
        self.cross_boundary_anchors = cross_boundary_anchors
        self.anchor_targets = partial(
            anchor_targets,
            positive_iou=rpn_positive_iou,
            negative_iou=rpn_negative_iou,
            num_samples=rpn_samples_per_image,
            positive_fraction=rpn_positive_fraction,
            crowd_share=self.crowd_share,
        )
        self.rpn_loss_denominator, self.rpn_samples_per_image = rpn_loss_denominator, rpn_samples_per_image
        self.rpn_box_loss_beta = rpn_box_loss_beta
        self.rpn_pre_nms_top_n, self.rpn_post_nms_top_n = rpn_pre_nms_top_n, rpn_post_nms_top_n
        self.select_proposals = partial(
            select_proposals, nms_iou=rpn_nms_iou, min_size=rpn_min_size, ranking=rpn_ranking
        )
        if weights is not None:
            start_from(self, weights)

    def loss_sums(self, inputs: Inputs, targets: Targets) -> dict[str, LossSum]:
        """`loss_objectness`, `loss_rpn_box`, `loss_classifier`, `loss_box`."""
        features = self.backbone(self.normalise(inputs.images, inputs.image_sizes))
        sums, proposals = self._rpn_losses(features, inputs, targets)
        # Section 3.2: the heads learn from what the RPN proposes; no gradient passes through the coordinates.
        regions = self.region_targets(proposals, targets, inputs.image_ids, 2 * self.sampling_seed + 1)
        region_features = self._region_features(features, regions.boxes, regions.is_valid)
        return sums | self._box_losses(region_features, regions)

    def _rpn_losses(
        self, features: list[Tensor], inputs: Inputs, targets: Targets
    ) -> tuple[dict[str, LossSum], Proposals]:
        """Section 3.1.2, equation 1: the RPN learns from anchors; and what it proposes."""
        anchors, logits, deltas = self._score_anchors(features, inputs.images)
        all_anchors, all_logits, all_deltas = torch.cat(anchors), torch.cat(logits, 1), torch.cat(deltas, 1)
        image_ids, image_sizes = inputs.image_ids, inputs.image_sizes
        may_train = self._may_train(all_anchors, image_sizes)
        rpn = self.anchor_targets(all_anchors, targets, image_ids, image_sizes, may_train, 2 * self.sampling_seed)
        index, is_positive, is_valid = rpn.samples
        objectness = objectness_loss(all_logits.gather(1, index), is_positive, is_valid)
        sampled_deltas = all_deltas.gather(1, index[..., None].expand(-1, -1, 4))
        box = box_loss(sampled_deltas, rpn.gt_deltas, is_positive, self.rpn_box_loss_beta)
        num_anchors = is_valid.sum()
        if self.rpn_loss_denominator == "fixed":
            num_anchors = torch.full_like(num_anchors, self.rpn_samples_per_image * len(image_ids))
        sums = {"loss_objectness": LossSum(objectness, num_anchors), "loss_rpn_box": LossSum(box, num_anchors)}
        return sums, self._select(anchors, logits, deltas, image_sizes)

    def predict(self, inputs: Inputs) -> tuple[Detections, Proposals]:
        """Detections and proposals, in the resized frame."""
        features = self.backbone(self.normalise(inputs.images, inputs.image_sizes))
        proposals = self.propose(features, inputs)
        return self._detect_boxes(features, proposals, inputs.image_sizes), proposals

    def propose(self, features: list[Tensor], inputs: Inputs) -> Proposals:
        """What the RPN proposes, in the resized frame (section 3.1)."""
        return self._select(*self._score_anchors(features, inputs.images), inputs.image_sizes)

    def _score_anchors(self, features: list[Tensor], images: Tensor) -> tuple[list[Tensor], list[Tensor], list[Tensor]]:
        """Anchors [A, 4], objectness logits [N, A] and deltas [N, A, 4] per level (section 3.1)."""
        feature_sizes = [(feature.shape[2], feature.shape[3]) for feature in features]
        return self.anchors(feature_sizes, (images.shape[2], images.shape[3])), *self.rpn(features)

    def _select(
        self, anchors: list[Tensor], logits: list[Tensor], deltas: list[Tensor], image_sizes: Tensor
    ) -> Proposals:
        phase = 0 if self.training else 1
        return self.select_proposals(
            anchors,
            [level.detach() for level in logits],
            [level.detach() for level in deltas],
            image_sizes,
            pre_nms_top_n=self.rpn_pre_nms_top_n[phase],
            post_nms_top_n=self.rpn_post_nms_top_n[phase],
        )

    def _may_train(self, anchors: Tensor, image_sizes: Tensor) -> Tensor:
        """Bool [N or 1, A]: anchors that take part in training (section 3.3)."""
        if self.cross_boundary_anchors == "keep":
            return torch.ones((1, anchors.shape[0]), dtype=torch.bool, device=anchors.device)
        height, width = image_sizes[:, None, :].unbind(-1)
        x1, y1, x2, y2 = anchors.unbind(-1)
        return (x1 >= 0) & (y1 >= 0) & (x2 <= width) & (y2 <= height)
