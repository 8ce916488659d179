"""R-CNN: rich feature hierarchies for accurate object detection and semantic segmentation.

Girshick, Donahue, Darrell, Malik, CVPR 2014, arXiv 1311.2524.

Stages: (1) another algorithm proposes some 2000 regions; (2) each is warped to the input of a convolutional network,
which is run on it alone; (3) a linear SVM per class scores its last features; (4) a linear regressor per class moves
the box, from the features before the fully connected layers. It is trained in three stages as well, each starting from
the checkpoint of the one before: `RCNNFineTuning` (the network), `RCNNClassification` (the SVMs), `RCNNBoxRegression`
(the regressors). Their modules have the same weights and differ in what they learn.

Where we deviate, and why: a score is the logistic function of the SVM's margin, so that it is between 0 and 1 and the
SVM decides at 0.5; the order of detections, and so AP, is that of the margins. torchvision's AlexNet stands for the
paper's. Numbers default to the paper's, and where it has none to those of its code.

Shape letters: N images, P proposals, B regions of the whole batch, S side of a warped region, K classes, F features.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from lightning_rcnn.backbones.norms import NormName
from lightning_rcnn.backbones.plain import PlainBackbone, PlainName
from lightning_rcnn.detectors.base import Detector
from lightning_rcnn.detectors.choices import check_choices
from lightning_rcnn.detectors.on_proposals import given_proposals
from lightning_rcnn.detectors.transfer import start_from
from lightning_rcnn.errors import InputError
from lightning_rcnn.heads.box_head import TwoLayerHead
from lightning_rcnn.heads.occupied import slots_to_compute
from lightning_rcnn.metrics.coco_ap import CocoAveragePrecision
from lightning_rcnn.postprocess import select_by_score
from lightning_rcnn.proposals.selective_search import SelectiveSearch, SelectiveSearchMode
from lightning_rcnn.roi.warp import warp_regions
from lightning_rcnn.structures import Detections, Inputs, Proposals

BOX_WEIGHTS = (1.0, 1.0, 1.0, 1.0)
"""The regressors learn the deltas as they are (appendix C)."""


class RegionScores(NamedTuple):
    """What is said of regions: `scores` float32 [..., K], 0 to 1, and `deltas` float32 [..., K, 4]."""

    scores: Tensor
    deltas: Tensor


class RCNN(Detector):
    """The whole R-CNN, as the last stage leaves it.

    Args:
        class_names: foreground classes in order; only the command line may leave it to the shards.
        backbone: "alexnet" or "vgg16".
        backbone_weights: torchvision's name of ImageNet weights ("DEFAULT"), a file or URL of its state dict, or None:
            from scratch.
        norm: follows each convolution; None as in the paper, "batch_norm" from scratch.
        norm_epsilon: of the norms.
        frozen_stages: conv1 to convN are not trained; 0 none.
        region_size: side of a warped region, pixels.
        region_context: of these so many on each side are context (appendix A).
        box_head_width: of fc6 and fc7.
        box_head_dropout: share of their outputs dropped in training.
        regions_at_a_time: that go through the network; bounds the memory of detection, not of training.
        proposal_limit: how many proposals of an image are looked at.
        score_threshold: detections have a higher score.
        nms_iou: of two boxes of one class that overlap by more, the better stays.
        detections_per_image: at most.
        selective_search_mode: what makes proposals for an image that comes without, in `detect`; as for those trained
            on, see `lightning-rcnn propose`.
        selective_search_width: likewise, pixels to which the image is scaled before.
        weights: the stage before: a checkpoint file or URL.
        **kwargs: of `Detector`.
    """

    def __init__(
        self,
        class_names: Sequence[str] = (),
        backbone: PlainName = "alexnet",
        backbone_weights: str | None = None,
        norm: NormName | None = None,
        norm_epsilon: float = 1e-5,
        frozen_stages: int = 0,
        region_size: int = 227,
        region_context: int = 16,
        box_head_width: int = 4096,
        box_head_dropout: float = 0.5,
        regions_at_a_time: int = 128,
        proposal_limit: int = 2000,
        score_threshold: float = 0.05,
        nms_iou: float = 0.3,
        detections_per_image: int = 100,
        selective_search_mode: SelectiveSearchMode = "fast",
        selective_search_width: int = 500,
        weights: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(class_names, **kwargs)
        self.save_hyperparameters()
        check_choices(type(self), self.hparams)
        if region_size < max(63, 2 * region_context + 1) or region_context < 0:
            raise InputError(
                f"model.region_size {region_size} with model.region_context {region_context}: at least 63 pixels, and "
                "more than twice the context"
            )
        for key, value in (("regions_at_a_time", regions_at_a_time), ("proposal_limit", proposal_limit)):
            if value < 1:
                raise InputError(f"model.{key} {value}: at least 1")
        most = max(100, detections_per_image)
        self.average_precisions["bbox"] = CocoAveragePrecision(self.class_names, max_detections=most)
        self.proposal_limit, self.regions_at_a_time = proposal_limit, regions_at_a_time
        self.search = SelectiveSearch(selective_search_mode, selective_search_width, proposal_limit)
        self.warp = partial(warp_regions, size=region_size, context=region_context)

        num_classes = len(self.class_names)
        self.backbone = PlainBackbone(backbone, backbone_weights, norm, norm_epsilon, frozen_stages)
        # At the paper's sizes its windows are those of the networks' last pooling; other sizes give as many features.
        self.region_pool = nn.AdaptiveMaxPool2d(self.backbone.pooled_size)
        self.box_head = TwoLayerHead(
            self.backbone.out_channels, self.backbone.pooled_size, box_head_width, box_head_dropout
        )
        self.box_head.take_over(self.backbone.take_fully_connected())
        self.softmax = nn.Linear(box_head_width, num_classes + 1)
        nn.init.normal_(self.softmax.weight, std=0.01)
        nn.init.zeros_(self.softmax.bias)
        # These two are solved for, and are zero until then: all margins are 0, and boxes stay where they are.
        pooled_features = self.backbone.out_channels * self.backbone.pooled_size**2
        self.svms = _zeros(nn.Linear(box_head_width, num_classes)).requires_grad_(False)
        self.box_regressors = _zeros(nn.Linear(pooled_features, num_classes * 4)).requires_grad_(False)
        self.select_detections = partial(
            select_by_score,
            classes_above=num_classes,
            box_weights=BOX_WEIGHTS,
            score_threshold=score_threshold,
            nms_iou=nms_iou,
            max_detections=detections_per_image,
        )
        if weights is not None:
            start_from(self, weights)

    def setup(self, stage: str) -> None:
        """Refuse to train without knowing what.

        Raises:
            InputError: as said, or the stage before is missing.
        """
        super().setup(stage)
        if stage == "fit":
            self.require_stage_before()

    def require_stage_before(self) -> None:
        """Refuse a training that cannot start; each stage's own.

        Raises:
            InputError: what is missing.
        """
        raise InputError(
            "RCNN is trained in stages: fit --model RCNNFineTuning, then RCNNClassification, then RCNNBoxRegression"
        )

    def predict(self, inputs: Inputs) -> tuple[Detections, Proposals]:
        """Detections and the given proposals, in the resized frame (section 2.2)."""
        proposals = given_proposals(inputs)
        scores, deltas = self.look_at(proposals, self.normalise(inputs.images, inputs.image_sizes))
        return self.select_detections(proposals, scores, deltas, inputs.image_sizes), proposals

    def look_at(self, proposals: Proposals, images: Tensor) -> RegionScores:
        """Scores [N, P, K] and deltas [N, P, K, 4] of all proposals, some at a time, each in a pass of its own.

        Args:
            proposals: in the frame of the images.
            images: normalised, [N, 3, H, W].
        """
        (num_images, num_proposals), num_classes = proposals.is_valid.shape, len(self.class_names)
        scores = images.new_zeros((num_images, num_proposals, num_classes))
        deltas = images.new_zeros((num_images, num_proposals, num_classes, 4))
        for part in self.parts(proposals.is_valid):
            pooled = self.pool5(self.warp(images, proposals.boxes[:, part]))
            found = self.score(pooled, self.fc7(pooled))
            scores[:, part] = found.scores.unflatten(0, (num_images, -1))
            deltas[:, part] = found.deltas.unflatten(0, (num_images, -1))
        return RegionScores(scores, deltas)

    def parts(self, is_valid: Tensor) -> tuple[Tensor, ...]:
        """Indices into P of the proposals to look at together, from bool [N, P]."""
        return slots_to_compute(is_valid.any(dim=0)).split(max(1, self.regions_at_a_time // len(is_valid)))

    def pool5(self, regions: Tensor) -> Tensor:
        """Features [B, C, S', S'] of warped regions [B, 3, S, S], after the last pooling (section 2.1)."""
        (features,) = self.backbone(regions)
        return self.region_pool(features)

    def fc7(self, pooled: Tensor) -> Tensor:
        """Features [B, F] for the classifiers, from `pool5`."""
        return self.box_head(pooled)

    def score(self, pooled: Tensor, hidden: Tensor) -> RegionScores:
        """Scores [B, K] by the SVMs from `fc7`, deltas [B, K, 4] by the regressors from `pool5`."""
        return RegionScores(self.margins(hidden).sigmoid(), self.shifts(pooled))

    def margins(self, hidden: Tensor) -> Tensor:
        """Of the SVMs, float32 [B, K] whatever autocast does, from features [B, F] (section 2.1)."""
        with torch.autocast(hidden.device.type, enabled=False):
            return self.svms(hidden.float())

    def shifts(self, pooled: Tensor) -> Tensor:
        """Deltas of the regressors, float32 [B, K, 4] likewise, from features [B, C, S', S'] (appendix C)."""
        with torch.autocast(pooled.device.type, enabled=False):
            return self.box_regressors(pooled.flatten(1).float()).unflatten(1, (-1, 4))


def _zeros(layer: nn.Linear) -> nn.Linear:
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer
