"""Faster R-CNN: towards real-time object detection with region proposal networks.

Ren, He, Girshick, Sun, NeurIPS 2015, arXiv 1506.01497.

Stages: (1) a backbone computes features of the whole image once; (2) the region proposal network (RPN) scores k
anchors at every position and moves them to objects; (3) the box branch classifies the best of them and refines each.
What changed since Fast R-CNN: proposals come from the network itself, sharing its features, instead of from selective
search; they cost milliseconds, and are trained with the rest.

Where we deviate, and why: both branches are trained jointly in one go ("approximate joint training", section 3.2),
because every implementation since does; a feature pyramid (FPN, arXiv 1612.03144) is the default, the paper's single
map is `ResNetC4`; RoIAlign (Mask R-CNN section 3) pools regions. Numbers default to torchvision's reference
implementation, with exact anchors and fixed strides as in detectron2.
"""

from collections.abc import Sequence
from functools import partial
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
from lightning_rcnn.roi_heads.pooler import PoolerSettings
from lightning_rcnn.rpn.branch import RPNSettings
from lightning_rcnn.structures import Detections, Inputs, Proposals, Targets

# As plain data, from which each detector builds its own.
DEFAULT_BACKBONE: Any = part(ResNetFPN)


class FasterRCNN(Detector):
    """Faster R-CNN.

    Args:
        class_names: foreground classes in order; only the command line may leave it to the shards.
        category_ids: their ids in the data set, for results files; 1..K if not given.
        backbone: gives the feature maps; ResNet-50 with a pyramid from scratch if not given.
        rpn: the region proposal branch.
        pooler: how regions are pooled.
        box: the box branch.
        preprocessing, optimizer, schedule, parameter_groups: as in `Detector`.
        weights: a detector to start from: a file or URL of ours, torchvision's or detectron2's, or a name of
            torchvision's (`fasterrcnn_resnet50_fpn`); predictors for other classes start from initialization.
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
        """`loss_objectness`, `loss_rpn_box`, `loss_classifier`, `loss_box`."""
        features = self.backbone(self.normalize(inputs))
        pooled = partial(self.pooler, features)
        rpn_losses, proposals = self.rpn.losses(features, inputs, targets, seed=2 * self.sampling_seed)
        # Section 3.2: the heads learn from what the RPN proposes; no gradient passes through the coordinates.
        box_losses, _ = self.box.losses(pooled, proposals, inputs, targets, seed=2 * self.sampling_seed + 1)
        return rpn_losses | box_losses

    def predict(self, inputs: Inputs) -> tuple[Detections, Proposals]:
        """Detections and proposals, in the resized frame."""
        features = self.backbone(self.normalize(inputs))
        pooled = partial(self.pooler, features)
        proposals = self.rpn.predict(features, inputs)
        return self.box.predict(pooled, proposals, inputs), proposals
