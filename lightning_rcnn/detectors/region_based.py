"""What detectors that look at regions of shared features have in common, from Fast R-CNN on.

One pass of the backbone over the whole image; regions are pooled from its features, classified and refined by the box
head (Girshick, Fast R-CNN, ICCV 2015, arXiv 1504.08083, section 2). Where the regions come from is each detector's own.

Shape letters: N images, P proposals, R sampled regions, B regions of the whole batch, K classes, S side of a region.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any, Literal

from torch import Tensor, nn

from lightning_rcnn.backbones.c4 import ResNetC4
from lightning_rcnn.backbones.dc5 import ResNetDC5
from lightning_rcnn.backbones.fpn import ResNetFPN
from lightning_rcnn.backbones.necks import NeckName, with_neck
from lightning_rcnn.backbones.norms import NormName, norm_layer
from lightning_rcnn.backbones.plain import PlainBackbone, PlainName
from lightning_rcnn.backbones.resnet import ResNetBody, ResNetName
from lightning_rcnn.detectors.base import Detector
from lightning_rcnn.detectors.choices import check_choices
from lightning_rcnn.errors import InputError
from lightning_rcnn.heads.box_head import BoxPredictor, TwoLayerHead, box_head
from lightning_rcnn.losses import LossSum, box_loss, classification_loss, mean_losses
from lightning_rcnn.metrics.coco_ap import CocoAveragePrecision
from lightning_rcnn.postprocess import select_detections
from lightning_rcnn.roi.pooler import LevelRule, PoolName, RegionPooler, as_rois
from lightning_rcnn.structures import Detections, Inputs, Proposals, Targets
from lightning_rcnn.targets import Regions, region_targets

BackboneName = Literal[ResNetName, PlainName]

BOX_WEIGHTS = (10.0, 10.0, 5.0, 5.0)
"""Deltas of the box head are about 0.1 and 0.2; scaled, their variance is one (Fast R-CNN's code, and all since)."""


class RegionBasedDetector(Detector):
    """Backbone, pooling of regions, box head.

    Args:
        class_names: foreground classes in order; only the command line may leave it to the shards.
        backbone: "resnet18", "resnet34", "resnet50", "resnet101", "resnext101_32x8d", "alexnet" or "vgg16".
        neck: of ResNets: "fpn" (a pyramid, the default), "c4" (the paper's single map of stride 16, whose last stage
            works on regions) or "dc5" (a single map of stride 16 after a dilated last stage). AlexNet and VGG16 have
            one map as they are.
        backbone_weights: torchvision's name of ImageNet weights ("DEFAULT"), a file or URL of anyone's, or None: from
            scratch.
        norm: "frozen_batch_norm" for ImageNet weights, "batch_norm" or "group_norm" from scratch; None for AlexNet and
            VGG16 as they were.
        norm_epsilon: of the norms; 0 in torchvision's first COCO detectors.
        stride_in_1x1: bottlenecks halve the resolution in their first convolution (detectron2's ResNets) or in their
            second one (torchvision's, and detectron2's ResNeXt).
        frozen_stages: 0 none, 1 stem, 2 also the first stage (usual with ImageNet weights), up to 5, all; of AlexNet
            and VGG16 conv1 to convN.
        fpn_channels: of the pyramid's levels.
        fpn_norm: of the pyramid's convolutions; None for a bias instead.
        roi_pool: "align" (RoIAlign) or "pool" (the paper's RoIPool, which rounds to whole pixels).
        roi_size: side of a pooled region; if not given 14 with "c4", 6 with AlexNet, else 7.
        roi_sampling_ratio: of RoIAlign, samples a bin and axis; 0 adapts to the region's size (detectron2).
        roi_aligned: RoIAlign shifts by half a pixel (detectron2) or not (torchvision).
        roi_canonical: (level, size): a region of this size, pixels, is pooled from this level (FPN equation 1).
        roi_level_rule: where the small constant of that equation stands, "torchvision" or "detectron2".
        box_head_width: of the fully connected layers.
        box_head_dropout: share of their outputs dropped in training; 0.5 in the papers' networks.
        box_head_convolutions: 0 for two fully connected layers; else the number of 3 x 3 convolutions before a single
            one (4 in torchvision's second version). With "c4" the last stage of the backbone is the head.
        box_head_channels: of these convolutions.
        head_norm: of the convolutions of the heads; None for a bias instead. "batch_norm" is torchvision's V2; while
            training it also sees the padding of short samples, and on a GPU the empty slots of masks.
        box_positive_iou: an overlap of at least this makes a region positive.
        box_negative_iou, box_lowest_negative_iou: regions with less than the first and at least the second are
            background; others take no part.
        box_samples_per_image, box_positive_fraction: regions drawn per image.
        box_loss_beta: where smooth L1 turns linear; 1/9 (torchvision) or 0 (detectron2).
        crowd_share: an anchor or region with more of its area in a crowd is no negative (0.7 in Detectron); None drops
            crowds from training, as torchvision's references and detectron2 do.
        score_threshold, nms_iou, detections_per_image: of detections.
        detection_min_size: boxes with a shorter side are dropped before suppression, pixels; with 0 (detectron2) empty
            ones stay until they are in the original frame.
        **kwargs: of `Detector`.
    """

    loss_names: tuple[str, ...] = ("loss_classifier", "loss_box")

    def __init__(
        self,
        class_names: Sequence[str] = (),
        backbone: BackboneName = "resnet50",
        neck: NeckName | None = None,
        backbone_weights: str | None = None,
        norm: NormName | None = "batch_norm",
        norm_epsilon: float = 1e-5,
        frozen_stages: int = 0,
        stride_in_1x1: bool = False,
        fpn_channels: int = 256,
        fpn_norm: NormName | None = None,
        roi_pool: PoolName = "align",
        roi_size: int | None = None,
        roi_sampling_ratio: int = 2,
        roi_aligned: bool = False,
        roi_canonical: tuple[int, float] = (4, 224.0),
        roi_level_rule: LevelRule = "torchvision",
        box_head_width: int = 1024,
        box_head_dropout: float = 0.0,
        box_head_convolutions: int = 0,
        box_head_channels: int = 256,
        head_norm: NormName | None = None,
        box_positive_iou: float = 0.5,
        box_negative_iou: float = 0.5,
        box_lowest_negative_iou: float = 0.0,
        box_samples_per_image: int = 512,
        box_positive_fraction: float = 0.25,
        box_loss_beta: float = 1 / 9,
        crowd_share: float | None = None,
        score_threshold: float = 0.05,
        nms_iou: float = 0.5,
        detections_per_image: int = 100,
        detection_min_size: float = 1e-2,
        **kwargs: Any,
    ) -> None:
        super().__init__(class_names, **kwargs)
        self.save_hyperparameters()
        check_choices(type(self), self.hparams)
        if not box_lowest_negative_iou < box_negative_iou:
            raise InputError(
                f"model.box_lowest_negative_iou {box_lowest_negative_iou}: below model.box_negative_iou "
                f"{box_negative_iou}, or no region is background"
            )
        # COCO's figures are over 100 detections; where more are wanted, more count.
        most = max(100, detections_per_image)
        self.average_precisions["bbox"] = CocoAveragePrecision(self.class_names, max_detections=most)

        self.backbone: PlainBackbone | ResNetFPN | ResNetC4 | ResNetDC5
        region_stage: nn.Module | None = None
        if backbone == "alexnet" or backbone == "vgg16":
            if neck is not None:
                raise InputError(f"model.neck {neck}: {backbone} has the one map; leave model.neck out")
            self.backbone = PlainBackbone(backbone, backbone_weights, norm, norm_epsilon, frozen_stages)
            self.backbone.align_with_image()
        else:
            body = ResNetBody(backbone, backbone_weights, norm, norm_epsilon, frozen_stages, stride_in_1x1)
            fpn_norm_layer = norm_layer(fpn_norm, norm_epsilon) if fpn_norm else None
            self.backbone, region_stage = with_neck(body, neck or "fpn", fpn_channels, fpn_norm_layer)
        self.has_region_stage = region_stage is not None
        self.region_stage = region_stage or nn.Identity()
        self.region_channels = self.backbone.region_channels

        self.roi_size = roi_size or self.backbone.pooled_size
        self.pool = RegionPooler(
            roi_pool, self.backbone.roi_strides, roi_sampling_ratio, roi_aligned, roi_canonical, roi_level_rule
        )
        self.head_norm = norm_layer(head_norm, norm_epsilon) if head_norm else None
        self.box_head = box_head(
            self.region_channels,
            None if region_stage else self.roi_size,
            box_head_width,
            box_head_convolutions,
            box_head_channels,
            self.head_norm,
            box_head_dropout,
        )
        if isinstance(self.backbone, PlainBackbone) and isinstance(self.box_head, TwoLayerHead):
            self.box_head.take_over(self.backbone.take_fully_connected())
        self.box_predictor = BoxPredictor(self.box_head.out_features, len(class_names))

        self.crowd_share = crowd_share
        self.max_positives = int(box_samples_per_image * box_positive_fraction)
        self.region_targets = partial(
            region_targets,
            positive_iou=box_positive_iou,
            negative_iou=(box_lowest_negative_iou, box_negative_iou),
            num_samples=box_samples_per_image,
            positive_fraction=box_positive_fraction,
            crowd_share=crowd_share,
            box_weights=BOX_WEIGHTS,
        )
        self.box_loss_beta = box_loss_beta
        self.select_detections = partial(
            select_detections,
            box_weights=BOX_WEIGHTS,
            score_threshold=score_threshold,
            nms_iou=nms_iou,
            max_detections=detections_per_image,
            min_size=detection_min_size,
        )

    def losses(self, inputs: Inputs, targets: Targets) -> dict[str, Tensor]:
        """Losses by name: this rank's sums over the ranks' mean counts."""
        return mean_losses(self.loss_sums(inputs, targets))

    def loss_sums(self, inputs: Inputs, targets: Targets) -> dict[str, LossSum]:
        """What this rank adds to each loss; each detector's own."""
        raise NotImplementedError

    def _region_features(self, features: list[Tensor], boxes: Tensor, is_valid: Tensor) -> Tensor:
        """Pooled features [N * R, C, S, S] of boxes [N, R, 4], after the last stage with "c4"."""
        return self.region_stage(self.pool(features, as_rois(boxes, is_valid), self.roi_size))

    def _score_regions(self, region_features: Tensor, is_valid: Tensor) -> tuple[Tensor, Tensor]:
        """Class logits [N, R, K+1] and deltas [N, R, K, 4] (section 2.1)."""
        class_logits, box_deltas = self.box_predictor(self.box_head(region_features))
        return class_logits.unflatten(0, is_valid.shape), box_deltas.unflatten(0, is_valid.shape)

    def _box_losses(self, region_features: Tensor, regions: Regions) -> dict[str, LossSum]:
        """Section 2.3, equation 1: classes of all regions, boxes of the positive ones."""
        class_logits, box_deltas = self._score_regions(region_features, regions.is_valid)
        own_class = (regions.labels - 1).clamp(min=0)[..., None, None].expand(-1, -1, 1, 4)
        own_deltas = box_deltas.gather(2, own_class).squeeze(2)
        classifier = classification_loss(class_logits, regions.labels, regions.is_valid)
        box = box_loss(own_deltas, regions.gt_deltas, regions.is_positive, self.box_loss_beta)
        num_regions = regions.is_valid.sum()
        return {"loss_classifier": LossSum(classifier, num_regions), "loss_box": LossSum(box, num_regions)}

    def _detect_boxes(self, features: list[Tensor], proposals: Proposals, image_sizes: Tensor) -> Detections:
        """The best classes and refined boxes of the proposals, in the resized frame."""
        region_features = self._region_features(features, proposals.boxes, proposals.is_valid)
        class_logits, box_deltas = self._score_regions(region_features, proposals.is_valid)
        return self.select_detections(proposals, class_logits, box_deltas, image_sizes)
