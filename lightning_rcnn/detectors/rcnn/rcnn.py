"""R-CNN: rich feature hierarchies for accurate object detection and semantic segmentation.

Girshick, Donahue, Darrell, Malik, CVPR 2014, arXiv 1311.2524.

Stages: (1) another algorithm proposes some 2000 regions; (2) each region is warped to the input size of a convolutional
network, which runs on it alone; (3) a linear SVM per class scores its last features; (4) a linear regressor per class
refines the box, from the features before the fully connected layers. Training has three stages, and each starts from
the checkpoint of the previous one: `RCNNFineTuning` (the network), `RCNNClassification` (the SVMs),
`RCNNBoxRegression` (the regressors). Their modules have the same weights and train different ones.

Where we deviate, and why: a score is the sigmoid of the SVM score, so that it is between 0 and 1 and the SVM decides at
0.5; the order of detections, and with it AP, is that of the SVM scores. torchvision's AlexNet replaces the paper's.
Numbers default to the paper's, or to those of its code if it has none.

Shape letters: N images, P proposals, B regions of the whole batch, S side of a warped region, K classes, F features.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor, nn

from lightning_rcnn.backbones.plain import PlainBackbone
from lightning_rcnn.detectors.base import Detector
from lightning_rcnn.detectors.evaluation import Evaluation
from lightning_rcnn.detectors.given_proposals import GivenProposals, given_proposals
from lightning_rcnn.detectors.optimization import (
    DEFAULT_OPTIMIZER,
    DEFAULT_SCHEDULE,
    LRSchedulerCallable,
    OptimizerCallable,
)
from lightning_rcnn.detectors.parameter_groups import ParameterGroupSettings
from lightning_rcnn.detectors.preprocessing import PreprocessingSettings
from lightning_rcnn.errors import InputError
from lightning_rcnn.functional.class_suppression import Suppression
from lightning_rcnn.functional.postprocess import select_by_score
from lightning_rcnn.ops.warp import warp_regions
from lightning_rcnn.parts import part
from lightning_rcnn.roi_heads.active import active_indices
from lightning_rcnn.roi_heads.box_head import BoxHeadSettings, TwoLayerHead
from lightning_rcnn.settings import Settings
from lightning_rcnn.settings_checks import Count, Fraction, PositiveCount
from lightning_rcnn.structures import Detections, Inputs, Proposals

# Plain data, so that each detector builds its own backbone.
DEFAULT_BACKBONE: Any = part(PlainBackbone, name="alexnet")
BOX_WEIGHTS = (1.0, 1.0, 1.0, 1.0)
"""The regressors learn unscaled deltas (appendix C)."""


class RegionScores(NamedTuple):
    """Outputs for regions: `scores` float32 [..., K], 0 to 1, and `deltas` float32 [..., K, 4]."""

    scores: Tensor
    deltas: Tensor


@dataclass(frozen=True)
class RegionSettings(Settings):
    """Settings of warping, scoring and selecting regions.

    Args:
        size: side of a warped region, pixels.
        context: pixels of context on each side of it, included in `size` (appendix A).
        head: settings of fc6 and fc7.
        at_a_time: number of regions in one pass of the network; bounds the memory of detection, not of training.
        score_threshold: minimum score of detections, exclusive.
        nms_iou: IoU threshold of NMS.
        detections_per_image: limit of detections per image.

    Raises:
        InputError: the size is too small for the network or the context.
    """

    conventions = ("size", "context")

    size: PositiveCount = 227
    context: Count = 16
    head: BoxHeadSettings = TwoLayerHead(width=4096, dropout=0.5)
    at_a_time: PositiveCount = 128
    score_threshold: Fraction = 0.05
    nms_iou: Fraction = 0.3
    detections_per_image: PositiveCount = 100

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.size < max(63, 2 * self.context + 1):
            raise InputError(
                f"model.regions: size {self.size} with context {self.context} is too small; give at least 63, and more "
                "than twice the context"
            )


class RCNN(Detector):
    """R-CNN as the last stage leaves it.

    Args:
        class_names: foreground classes in order; the command line takes them from the shards.
        category_ids: ids of the classes in their data set, for results files; 1..K if not given.
        backbone: network that computes the features; AlexNet from scratch if not given.
        proposals: limit of proposals per image, and selective search for images without any.
        regions: settings of warping, scoring and selecting regions.
        preprocessing, optimizer, schedule, parameter_groups: as in `Detector`.
        weights: file or URL of the previous stage's checkpoint.
    """

    class_layers: tuple[str, ...] = ("softmax", "svms", "box_regressors")
    no_graph: ClassVar[str] = "R-CNN runs its network on each region of an image, in many passes; train a Fast R-CNN"

    def __init__(
        self,
        class_names: Sequence[str] = (),
        category_ids: Sequence[int] | None = None,
        backbone: PlainBackbone = DEFAULT_BACKBONE,
        proposals: GivenProposals = GivenProposals(),
        regions: RegionSettings = RegionSettings(),
        preprocessing: PreprocessingSettings = PreprocessingSettings(),
        optimizer: OptimizerCallable = DEFAULT_OPTIMIZER,
        schedule: LRSchedulerCallable = DEFAULT_SCHEDULE,
        parameter_groups: ParameterGroupSettings = ParameterGroupSettings(),
        weights: str | None = None,
    ) -> None:
        super().__init__(class_names, category_ids, preprocessing, optimizer, schedule, parameter_groups)
        self.evaluation = Evaluation(self.class_names, regions.detections_per_image, mask_paste=None)
        self.proposal_limit, self.search = proposals.limit, proposals.build()
        self.regions_at_a_time = regions.at_a_time
        self.warp = partial(warp_regions, size=regions.size, context=regions.context)
        self.weights = weights

        self.backbone = backbone
        # At the paper's sizes its windows are those of the last pooling; at others the number of features stays.
        self.region_pool = nn.AdaptiveMaxPool2d(self.backbone.pooled_size)
        self.box_head = regions.head.build(
            self.backbone.out_channels, self.backbone.pooled_size, self.backbone.take_fully_connected()
        )
        hidden: int = self.box_head.out_features  # type: ignore[assignment]
        self.softmax = nn.Linear(hidden, self.num_classes + 1)
        nn.init.normal_(self.softmax.weight, std=0.01)
        nn.init.zeros_(self.softmax.bias)
        # Two stages solve for these. Until then they are zero: all SVM scores are 0, and boxes keep their positions.
        pooled_features = self.backbone.out_channels * self.backbone.pooled_size**2
        self.svms = _zeros(nn.Linear(hidden, self.num_classes)).requires_grad_(False)
        self.box_regressors = _zeros(nn.Linear(pooled_features, self.num_classes * 4)).requires_grad_(False)
        self._suppression = Suppression(regions.nms_iou)
        self.select_detections = partial(
            select_by_score,
            classes_above=self.num_classes,
            box_weights=BOX_WEIGHTS,
            score_threshold=regions.score_threshold,
            nms_iou=regions.nms_iou,
            max_detections=regions.detections_per_image,
        )

    def after_init(self) -> None:
        """Load the previous stage, and reset the layers that this stage or a later one trains."""
        super().after_init()
        for layer in self.layers_to_reset():
            _zeros(layer)

    @property
    def suppression(self) -> Suppression:
        """Non-maximum suppression, class by class."""
        return self._suppression

    def layers_to_reset(self) -> tuple[nn.Linear, ...]:
        """Return the layers whose loaded weights this stage makes invalid."""
        return ()

    def setup(self, stage: str) -> None:
        """Refuse to train without the previous stage.

        Raises:
            InputError: the previous stage is missing; see also `Detector.setup`.
        """
        super().setup(stage)
        if stage == "fit":
            self.require_stage_before()

    def require_stage_before(self) -> None:
        """Refuse to train without the previous stage. Every stage overrides it.

        Raises:
            InputError: the previous stage is missing.
        """
        raise InputError(
            "RCNN is trained in stages: fit --model RCNNFineTuning, then RCNNClassification, then RCNNBoxRegression"
        )

    def predict(self, inputs: Inputs) -> tuple[Detections, Proposals]:
        """Compute detections, and return them with the given proposals, in the resized frame (section 2.2)."""
        proposals = given_proposals(inputs)
        scores, deltas = self.score_proposals(proposals, self.normalize(inputs))
        return self.select_detections(proposals, scores, deltas, inputs.image_sizes), proposals

    def score_proposals(self, proposals: Proposals, images: Tensor) -> RegionScores:
        """Compute scores [N, P, K] and deltas [N, P, K, 4] of all proposals, in chunks.

        Args:
            proposals: regions in the frame of the images.
            images: normalized images [N, 3, H, W].
        """
        (num_images, num_proposals), num_classes = proposals.is_valid.shape, len(self.class_names)
        scores = images.new_zeros((num_images, num_proposals, num_classes))
        deltas = images.new_zeros((num_images, num_proposals, num_classes, 4))
        for chunk in self.chunks(proposals.is_valid):
            pooled = self.pool5(self.warp(images, proposals.boxes[:, chunk]))
            outputs = self.score(pooled, self.fc7(pooled))
            scores[:, chunk] = outputs.scores.unflatten(0, (num_images, -1))
            deltas[:, chunk] = outputs.deltas.unflatten(0, (num_images, -1))
        return RegionScores(scores, deltas)

    def chunks(self, is_valid: Tensor) -> tuple[Tensor, ...]:
        """Split the valid proposals, bool [N, P], into chunks for one pass of the network each: indices into P."""
        return active_indices(is_valid.any(dim=0)).split(max(1, self.regions_at_a_time // len(is_valid)))

    def pool5(self, regions: Tensor) -> Tensor:
        """Compute features [B, C, S', S'] of warped regions [B, 3, S, S], after the last pooling (section 2.1)."""
        (features,) = self.backbone(regions)
        return self.region_pool(features)

    def fc7(self, pooled: Tensor) -> Tensor:
        """Compute features [B, F] for the classifiers from those of `pool5`."""
        return self.box_head(pooled)

    def score(self, pooled: Tensor, hidden: Tensor) -> RegionScores:
        """Compute scores [B, K] by the SVMs from `fc7`, and deltas [B, K, 4] by the regressors from `pool5`."""
        return RegionScores(self.svm_scores(hidden).sigmoid(), self.box_deltas(pooled))

    def svm_scores(self, hidden: Tensor) -> Tensor:
        """Compute the SVM scores, float32 [B, K] also under autocast, from features [B, F] (section 2.1)."""
        with torch.autocast(hidden.device.type, enabled=False):
            return self.svms(hidden.float())

    def box_deltas(self, pooled: Tensor) -> Tensor:
        """Compute the regressors' deltas, float32 [B, K, 4] also under autocast, from [B, C, S', S'] (appendix C)."""
        with torch.autocast(pooled.device.type, enabled=False):
            return self.box_regressors(pooled.flatten(1).float()).unflatten(1, (-1, 4))


def _zeros(layer: nn.Linear) -> nn.Linear:
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer
