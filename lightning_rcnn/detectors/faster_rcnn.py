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

Shape letters: N images, P proposals, R sampled regions, K classes.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor, nn

from lightning_rcnn.backbones.c4 import ResNetC4
from lightning_rcnn.backbones.dc5 import ResNetDC5
from lightning_rcnn.backbones.fpn import ResNetFPN
from lightning_rcnn.backbones.norms import NormName, norm_layer
from lightning_rcnn.backbones.resnet import ResNetBody, ResNetName
from lightning_rcnn.detectors.base import Detector
from lightning_rcnn.detectors.transfer import start_from
from lightning_rcnn.errors import InputError
from lightning_rcnn.heads.box_head import AveragePool, BoxPredictor, ConvolutionalHead, TwoLayerHead
from lightning_rcnn.losses import LossSum, box_loss, classification_loss, mean_losses, objectness_loss
from lightning_rcnn.metrics.coco_ap import CocoAveragePrecision
from lightning_rcnn.postprocess import select_detections
from lightning_rcnn.proposals.anchors import AnchorGenerator, AnchorOrder, AnchorRounding, AnchorStride
from lightning_rcnn.proposals.rpn import ProposalRanking, RegionProposalHead, select_proposals
from lightning_rcnn.roi import assign_levels, multiscale_roi_align, multiscale_roi_pool
from lightning_rcnn.structures import Detections, Inputs, Proposals, Targets
from lightning_rcnn.targets import Regions, anchor_targets, region_targets

BOX_WEIGHTS = (10.0, 10.0, 5.0, 5.0)
"""Deltas of the box head are about 0.1 and 0.2; scaled, their variance is one (Fast R-CNN's code, and all since)."""


class FasterRCNN(Detector):
    """Faster R-CNN.

    Args:
        class_names: foreground classes in order; only the command line may leave it to the shards.
        backbone: "resnet18", "resnet34", "resnet50", "resnet101" or "resnext101_32x8d".
        neck: "fpn" (pyramid), "c4" (the paper's single map of stride 16, whose last stage works on regions) or "dc5" (a
            single map of stride 16 after a dilated last stage).
        backbone_weights: torchvision's name of ImageNet weights ("DEFAULT"), a file or URL of anyone's, or None: from
            scratch.
        norm: "frozen_batch_norm" for ImageNet weights, "batch_norm" or "group_norm" from scratch.
        norm_epsilon: of the norms; 0 in torchvision's first COCO detectors.
        stride_in_1x1: bottlenecks halve the resolution in their first convolution (detectron2's ResNets) or in their
            second one (torchvision's, and detectron2's ResNeXt).
        frozen_stages: 0 none, 1 stem, 2 also the first stage (usual with ImageNet weights), up to 5, all.
        fpn_channels: of the pyramid's levels.
        fpn_norm: of the pyramid's convolutions; None for a bias instead.
        anchor_sizes: pixels; with "fpn" one a level, else all on the one map.
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
        roi_pool: "align" (RoIAlign) or "pool" (the paper's RoIPool, which rounds to whole pixels).
        roi_size: side of a pooled region; if not given 14 with "c4", else 7.
        roi_sampling_ratio: of RoIAlign, samples a bin and axis; 0 adapts to the region's size (detectron2).
        roi_aligned: RoIAlign shifts by half a pixel (detectron2) or not (torchvision).
        roi_canonical: (level, size): a region of this size, pixels, is pooled from this level (FPN equation 1).
        roi_level_rule: where the small constant of that equation stands, "torchvision" or "detectron2".
        box_head_width: of the fully connected layers.
        box_head_convolutions: 0 for two fully connected layers; else the number of 3 x 3 convolutions before a single
            one (4 in torchvision's second version). With "c4" the last stage of the backbone is the head.
        box_head_channels: of these convolutions.
        head_norm: of the convolutions of the heads; None for a bias instead. "batch_norm" is torchvision's V2; while
            training it also sees the padding of short samples, and on a GPU the empty slots of masks.
        box_positive_iou, box_negative_iou: thresholds for regions.
        box_samples_per_image, box_positive_fraction: regions drawn per image.
        box_loss_beta: where smooth L1 turns linear; 1/9 (torchvision) or 0 (detectron2).
        crowd_share: an anchor or region with more of its area in a crowd is no negative (Detectron).
        score_threshold, nms_iou, detections_per_image: of detections.
        weights: a detector to start from: a file or URL of ours, torchvision's or detectron2's, or a name of
            torchvision's (`fasterrcnn_resnet50_fpn`); predictors for other classes start anew.
        detection_min_size: boxes with a shorter side are dropped before suppression, pixels; with 0 (detectron2) empty
            ones stay until they are in the original frame.
        **kwargs: of `Detector`.
    """

    def __init__(
        self,
        class_names: Sequence[str] = (),
        backbone: ResNetName = "resnet50",
        neck: Literal["fpn", "c4", "dc5"] = "fpn",
        backbone_weights: str | None = None,
        norm: NormName = "batch_norm",
        norm_epsilon: float = 1e-5,
        frozen_stages: int = 0,
        stride_in_1x1: bool = False,
        fpn_channels: int = 256,
        fpn_norm: NormName | None = None,
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
        roi_pool: Literal["align", "pool"] = "align",
        roi_size: int | None = None,
        roi_sampling_ratio: int = 2,
        roi_aligned: bool = False,
        roi_canonical: tuple[int, float] = (4, 224.0),
        roi_level_rule: Literal["torchvision", "detectron2"] = "torchvision",
        box_head_width: int = 1024,
        box_head_convolutions: int = 0,
        box_head_channels: int = 256,
        head_norm: NormName | None = None,
        box_positive_iou: float = 0.5,
        box_negative_iou: float = 0.5,
        box_samples_per_image: int = 512,
        box_positive_fraction: float = 0.25,
        box_loss_beta: float = 1 / 9,
        crowd_share: float = 0.7,
        score_threshold: float = 0.05,
        nms_iou: float = 0.5,
        detections_per_image: int = 100,
        detection_min_size: float = 1e-2,
        weights: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(class_names, **kwargs)
        self.save_hyperparameters()
        # COCO's figures are over 100 detections; where more are wanted, more count.
        most = max(100, detections_per_image)
        self.average_precisions["bbox"] = CocoAveragePrecision(self.class_names, max_detections=most)
        if neck not in ("fpn", "c4", "dc5"):
            raise InputError(f"model.neck {neck!r} is none of fpn, c4, dc5")
        if neck == "c4" and frozen_stages == 5:
            raise InputError("model.frozen_stages 5: with neck c4 the last stage belongs to the head; freeze at most 4")
        if rpn_layers < 1:
            raise InputError(f"model.rpn_layers {rpn_layers}: at least 1")
        body = ResNetBody(backbone, backbone_weights, norm, norm_epsilon, frozen_stages, stride_in_1x1)
        self.backbone: ResNetFPN | ResNetC4 | ResNetDC5
        self.region_stage: nn.Module = nn.Identity()
        self.head_norm = norm_layer(head_norm, norm_epsilon) if head_norm else None
        self.roi_size = roi_size or (14 if neck == "c4" else 7)
        self.has_region_stage = neck == "c4"
        level_sizes = [[size] for size in anchor_sizes] if neck == "fpn" else [list(anchor_sizes)]
        if neck == "fpn":
            self.backbone = ResNetFPN(body, fpn_channels, norm_layer(fpn_norm, norm_epsilon) if fpn_norm else None)
        elif neck == "dc5":
            self.backbone = ResNetDC5(body)
        else:
            self.backbone = ResNetC4(body)
            self.region_stage = self.backbone.take_region_stage()
        self.region_channels = body.out_channels[3] if self.has_region_stage else self.backbone.out_channels
        self.box_head: TwoLayerHead | ConvolutionalHead | AveragePool
        if self.has_region_stage:
            self.box_head = AveragePool(self.region_channels)
        elif box_head_convolutions:
            self.box_head = ConvolutionalHead(
                self.region_channels,
                self.roi_size,
                box_head_convolutions,
                box_head_channels,
                box_head_width,
                self.head_norm,
            )
        else:
            self.box_head = TwoLayerHead(self.region_channels, self.roi_size, box_head_width)
        if len(level_sizes) != len(self.backbone.strides):
            raise InputError(
                f"model.anchor_sizes: {len(self.backbone.strides)} levels need as many sizes, not {len(anchor_sizes)}"
            )
        self.box_predictor = BoxPredictor(self.box_head.out_features, len(class_names))
        self.anchors = AnchorGenerator(
            level_sizes, anchor_ratios, self.backbone.strides, anchor_rounding, anchor_order, anchor_stride
        )
        self.rpn = RegionProposalHead(self.backbone.out_channels, self.anchors.num_per_position, rpn_layers)
        self.cross_boundary_anchors = cross_boundary_anchors
        self.rpn_loss_denominator, self.rpn_samples_per_image = rpn_loss_denominator, rpn_samples_per_image
        self.rpn_box_loss_beta, self.box_loss_beta = rpn_box_loss_beta, box_loss_beta
        self.rpn_pre_nms_top_n, self.rpn_post_nms_top_n = rpn_pre_nms_top_n, rpn_post_nms_top_n
        self.select_proposals = partial(
            select_proposals, nms_iou=rpn_nms_iou, min_size=rpn_min_size, ranking=rpn_ranking
        )
        self.anchor_targets = partial(
            anchor_targets,
            positive_iou=rpn_positive_iou,
            negative_iou=rpn_negative_iou,
            num_samples=rpn_samples_per_image,
            positive_fraction=rpn_positive_fraction,
            crowd_share=crowd_share,
        )
        self.region_targets = partial(
            region_targets,
            positive_iou=box_positive_iou,
            negative_iou=(0.0, box_negative_iou),
            num_samples=box_samples_per_image,
            positive_fraction=box_positive_fraction,
            crowd_share=crowd_share,
            box_weights=BOX_WEIGHTS,
        )
        scales = [1 / stride for stride in self.backbone.roi_strides]
        if roi_pool == "align":
            self.pool = partial(
                multiscale_roi_align,
                scales=scales,
                sampling_ratio=roi_sampling_ratio,
                aligned=roi_aligned,
                canonical=roi_canonical,
            )
        elif roi_pool == "pool":
            self.pool = partial(multiscale_roi_pool, scales=scales, canonical=roi_canonical)
        else:
            raise InputError(f"model.roi_pool {roi_pool!r} is none of align, pool")
        self.assign_levels = None
        if neck == "fpn" and roi_level_rule != "torchvision":  # the operators' own rule
            self.assign_levels = partial(assign_levels, scales=scales, canonical=roi_canonical, rule=roi_level_rule)
        self.max_positives = int(box_samples_per_image * box_positive_fraction)
        self.select_detections = partial(
            select_detections,
            box_weights=BOX_WEIGHTS,
            score_threshold=score_threshold,
            nms_iou=nms_iou,
            max_detections=detections_per_image,
            min_size=detection_min_size,
        )
        if weights is not None:
            start_from(self, weights)

    def losses(self, inputs: Inputs, targets: Targets) -> dict[str, Tensor]:
        """`loss_objectness`, `loss_rpn_box`, `loss_classifier`, `loss_box`: own sums over the ranks' mean counts."""
        features = self.backbone(self.normalise(inputs.images, inputs.image_sizes))
        sums, proposals = self._rpn_losses(features, inputs, targets)
        regions = self.region_targets(proposals, targets, inputs.image_ids, 2 * self.sampling_seed + 1)
        region_features = self._region_features(features, regions.boxes, regions.is_valid)
        return mean_losses(sums | self._box_losses(region_features, regions))

    def _rpn_losses(
        self, features: list[Tensor], inputs: Inputs, targets: Targets
    ) -> tuple[dict[str, LossSum], Proposals]:
        """Section 3.1.2, equation 1: the RPN learns from anchors; and what it proposes."""
        anchors, logits, deltas = self._score_anchors(features, inputs.images)
        all_anchors, all_logits, all_deltas = torch.cat(anchors), torch.cat(logits, 1), torch.cat(deltas, 1)
        rpn = self.anchor_targets(
            all_anchors,
            targets,
            inputs.image_ids,
            inputs.image_sizes,
            self._may_train(all_anchors, inputs.image_sizes),
            2 * self.sampling_seed,
        )
        index, is_positive, is_valid = rpn.samples
        sampled_deltas = all_deltas.gather(1, index[..., None].expand(-1, -1, 4))
        num_anchors = is_valid.sum()
        if self.rpn_loss_denominator == "fixed":
            num_anchors = torch.full_like(num_anchors, self.rpn_samples_per_image * inputs.images.shape[0])
        sums = {
            "loss_objectness": LossSum(
                objectness_loss(all_logits.gather(1, index), is_positive, is_valid), num_anchors
            ),
            "loss_rpn_box": LossSum(
                box_loss(sampled_deltas, rpn.gt_deltas, is_positive, self.rpn_box_loss_beta), num_anchors
            ),
        }
        return sums, self._propose(anchors, logits, deltas, inputs.image_sizes)

    def _box_losses(self, region_features: Tensor, regions: Regions) -> dict[str, LossSum]:
        """Section 3.2: the heads learn from what the RPN proposes; no gradient passes through the coordinates."""
        class_logits, box_deltas = self._score_regions(region_features, regions.is_valid)
        own_class = (regions.labels - 1).clamp(min=0)[..., None, None].expand(-1, -1, 1, 4)
        own_deltas = box_deltas.gather(2, own_class).squeeze(2)
        num_regions = regions.is_valid.sum()
        return {
            "loss_classifier": LossSum(
                classification_loss(class_logits, regions.labels, regions.is_valid), num_regions
            ),
            "loss_box": LossSum(
                box_loss(own_deltas, regions.gt_deltas, regions.is_positive, self.box_loss_beta), num_regions
            ),
        }

    def predict(self, inputs: Inputs) -> tuple[Detections, Proposals]:
        """Detections and proposals, in the resized frame."""
        return self._detect_boxes(self.backbone(self.normalise(inputs.images, inputs.image_sizes)), inputs)

    def _detect_boxes(self, features: list[Tensor], inputs: Inputs) -> tuple[Detections, Proposals]:
        proposals = self._propose(*self._score_anchors(features, inputs.images), inputs.image_sizes)
        region_features = self._region_features(features, proposals.boxes, proposals.is_valid)
        class_logits, box_deltas = self._score_regions(region_features, proposals.is_valid)
        return self.select_detections(proposals, class_logits, box_deltas, inputs.image_sizes), proposals

    def _score_anchors(self, features: list[Tensor], images: Tensor) -> tuple[list[Tensor], list[Tensor], list[Tensor]]:
        """Anchors [A, 4], objectness logits [N, A] and deltas [N, A, 4] per level (section 3.1)."""
        feature_sizes = [(feature.shape[2], feature.shape[3]) for feature in features]
        return self.anchors(feature_sizes, (images.shape[2], images.shape[3])), *self.rpn(features)

    def _propose(
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

    def _region_features(self, features: list[Tensor], boxes: Tensor, is_valid: Tensor) -> Tensor:
        """Pooled features [N * R, C, S, S] of boxes [N, R, 4], after the last stage with "c4"."""
        return self.region_stage(self._pool(features, as_rois(boxes, is_valid), self.roi_size))

    def _pool(self, features: list[Tensor], rois: Tensor, size: int) -> Tensor:
        """Features [B, C, size, size] of rois [B, 5]."""
        levels = self.assign_levels(rois[:, 1:]) if self.assign_levels else None
        return self.pool(features[: len(self.backbone.roi_strides)], rois, output_size=size, levels=levels)

    def _score_regions(self, region_features: Tensor, is_valid: Tensor) -> tuple[Tensor, Tensor]:
        """Class logits [N, R, K+1] and deltas [N, R, K, 4] (Fast R-CNN section 2)."""
        class_logits, box_deltas = self.box_predictor(self.box_head(region_features))
        return class_logits.unflatten(0, is_valid.shape), box_deltas.unflatten(0, is_valid.shape)

    def _may_train(self, anchors: Tensor, image_sizes: Tensor) -> Tensor:
        """Bool [N or 1, A]: anchors that take part in training (section 3.3)."""
        if self.cross_boundary_anchors == "keep":
            return torch.ones((1, anchors.shape[0]), dtype=torch.bool, device=anchors.device)
        height, width = image_sizes[:, None, :].unbind(-1)
        x1, y1, x2, y2 = anchors.unbind(-1)
        return (x1 >= 0) & (y1 >= 0) & (x2 <= width) & (y2 <= height)


def as_rois(boxes: Tensor, is_valid: Tensor) -> Tensor:
    """Boxes [N, R, 4] as [N * R, 5] with the index of their image before them; -1, nothing to pool, if not valid."""
    image_index = torch.arange(is_valid.shape[0], device=boxes.device)[:, None]
    image_index = torch.where(is_valid, image_index, -1).to(boxes.dtype)
    return torch.cat((image_index[..., None], boxes), dim=2).flatten(0, 1)
