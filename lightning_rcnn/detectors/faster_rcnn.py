"""Faster R-CNN: towards real-time object detection with region proposal networks.

Ren, He, Girshick, Sun, NeurIPS 2015, arXiv 1506.01497.

Stages: (1) a backbone computes features of the whole image once; (2) the region proposal network (RPN) scores k
anchors at every position and moves them to objects; (3) the box branch classifies the best proposals and refines them.
What changed since Fast R-CNN: proposals come from the network itself, which shares its features, instead of selective
search; they take milliseconds, and are trained with the rest.

Where we deviate, and why: both branches are trained jointly ("approximate joint training", section 3.2), as in
every later implementation; a feature pyramid (FPN, arXiv 1612.03144) is the default, the paper's single
map is `ResNetC4`; RoIAlign (Mask R-CNN section 3) pools regions. Numbers default to torchvision's reference
implementation, with exact anchors and fixed strides as in detectron2.
"""

from collections.abc import Sequence
from typing import Any

from lightning_rcnn.backbones.base import Backbone
from lightning_rcnn.backbones.fpn import ResNetFPN
from lightning_rcnn.detectors.base import Detector
from lightning_rcnn.detectors.evaluation import Evaluation
from lightning_rcnn.detectors.optimization import (
    DEFAULT_OPTIMIZER,
    DEFAULT_SCHEDULE,
    LRSchedulerCallable,
    OptimizerCallable,
)
from lightning_rcnn.detectors.parameter_groups import ParameterGroupSettings
from lightning_rcnn.detectors.preprocessing import PreprocessingSettings
from lightning_rcnn.functional.losses import LossSum
from lightning_rcnn.parts import part
from lightning_rcnn.roi_heads.box_branch import BoxSettings
from lightning_rcnn.roi_heads.box_predictions import evaluate_boxes
from lightning_rcnn.roi_heads.pooler import PooledFeatures, PoolerSettings
from lightning_rcnn.rpn.branch import RPNSettings
from lightning_rcnn.structures import Detections, Inputs, Proposals, Targets

# Plain data, so that each detector builds its own backbone.
DEFAULT_BACKBONE: Any = part(ResNetFPN)


class FasterRCNN(Detector):
    """Faster R-CNN.

    Args:
        class_names: foreground classes in order; the command line takes them from the shards.
        category_ids: ids of the classes in their data set, for results files; 1..K if not given.
        backbone: network that computes the feature maps; ResNet-50 with FPN from scratch if not given.
        rpn: settings of the region proposal branch.
        pooler: settings of RoI pooling.
        box: settings of the box branch.
        preprocessing, optimizer, schedule, parameter_groups: as in `Detector`.
        weights: detector to start from: file or URL of ours, torchvision's or detectron2's, or torchvision's name
            (`fasterrcnn_resnet50_fpn`); predictors for other classes are initialized.
    """

    def __init__(
        self,
        class_names: Sequence[str] = (),
        category_ids: Sequence[int] | None = None,
        backbone: Backbone = DEFAULT_BACKBONE,
        rpn: RPNSettings = RPNSettings(),
        pooler: PoolerSettings = PoolerSettings(),
        box: BoxSettings = BoxSettings(),
        preprocessing: PreprocessingSettings = PreprocessingSettings(),
        optimizer: OptimizerCallable = DEFAULT_OPTIMIZER,
        schedule: LRSchedulerCallable = DEFAULT_SCHEDULE,
        parameter_groups: ParameterGroupSettings = ParameterGroupSettings(),
        weights: str | None = None,
    ) -> None:
        super().__init__(class_names, category_ids, preprocessing, optimizer, schedule, parameter_groups)
        self.backbone = backbone
        self.backbone.align_with_image()
        self.pooler = pooler.build(self.backbone)
        self.box = box.build(self.backbone, self.pooler, self.num_classes)
        self.rpn = rpn.build(self.backbone)
        self.evaluation = Evaluation(self.class_names, box.detections_per_image, mask_paste=None)
        self.weights = weights

    def loss_sums(self, inputs: Inputs, targets: Targets) -> dict[str, LossSum]:
        """Compute `loss_objectness`, `loss_rpn_box`, `loss_classifier` and `loss_box`."""
        features = self.backbone(self.normalize(inputs))
        pooled = PooledFeatures(self.pooler, features)
        rpn_losses, proposals = self.rpn.losses(features, inputs, targets, seed=2 * self.sampling_seed)
        # Section 3.2: the box branch trains on the proposals; no gradient passes through their coordinates.
        box_losses, _ = self.box.losses(pooled, proposals, inputs, targets, seed=2 * self.sampling_seed + 1)
        return rpn_losses | box_losses

    def predict(self, inputs: Inputs) -> tuple[Detections, Proposals]:
        """Compute detections and proposals, in the resized frame."""
        features = self.backbone(self.normalize(inputs))
        pooled = PooledFeatures(self.pooler, features)
        proposals = self.rpn.predict(features, inputs)
        return self.box.predict(pooled, proposals, inputs), proposals

    def evaluate(self, inputs: Inputs, targets: Targets) -> tuple[Detections, Proposals, dict[str, LossSum]]:
        """`predict` and `loss_sums` in one pass: the losses are those of the proposals of evaluation."""
        features = self.backbone(self.normalize(inputs))
        pooled = PooledFeatures(self.pooler, features)
        rpn_losses, proposals = self.rpn.losses(features, inputs, targets, seed=2 * self.sampling_seed)
        detections, box_losses, _ = evaluate_boxes(
            self.box, pooled, proposals, inputs, targets, seed=2 * self.sampling_seed + 1
        )
        return detections, proposals, rpn_losses | box_losses
