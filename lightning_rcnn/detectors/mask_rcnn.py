"""Mask R-CNN.

He, Gkioxari, Dollar, Girshick, ICCV 2017, arXiv 1703.06870.

Stages: (1) to (3) are those of Faster R-CNN: backbone, region proposals, box branch. In parallel to the box branch,
(4) a small fully convolutional network predicts a mask for each region and class.
What changed since Faster R-CNN: RoIAlign samples features at exact positions, where RoIPool rounded to whole pixels;
and the mask branch, one sigmoid mask per class, so that classes do not compete: the box branch decides the class.

Where we deviate, and why: as in Detectron and all later references, masks of C4 models are predicted from the same
region features as boxes; ground-truth masks are sampled from the annotated bitmap or outline, which is not resized to
the network's input. RoIPool stays selectable (`pooler.operator`), so that the ablation of table 2c can be rerun.
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
from lightning_rcnn.roi_heads.mask_branch import MaskBranchSettings, MaskSettings
from lightning_rcnn.roi_heads.pooler import PooledFeatures, PoolerSettings
from lightning_rcnn.rpn.branch import RPNSettings
from lightning_rcnn.structures import Detections, Inputs, Proposals, Targets

# Plain data, so that each detector builds its own backbone.
DEFAULT_BACKBONE: Any = part(ResNetFPN)


class MaskRCNN(Detector):
    """Mask R-CNN.

    Args:
        class_names: foreground classes in order; the command line takes them from the shards.
        category_ids: ids of the classes in their data set, for results files; 1..K if not given.
        backbone: network that computes the feature maps; ResNet-50 with FPN from scratch if not given.
        rpn: settings of the region proposal branch.
        pooler: settings of RoI pooling.
        box: settings of the box branch.
        mask: settings of the mask branch: `MaskSettings`, or those of another branch.
        preprocessing, optimizer, schedule, parameter_groups: as in `Detector`.
        weights: detector to start from: file or URL of ours, torchvision's or detectron2's, or torchvision's name
            (`maskrcnn_resnet50_fpn`); predictors for other classes are initialized.
    """

    def __init__(
        self,
        class_names: Sequence[str] = (),
        category_ids: Sequence[int] | None = None,
        backbone: Backbone = DEFAULT_BACKBONE,
        rpn: RPNSettings = RPNSettings(),
        pooler: PoolerSettings = PoolerSettings(),
        box: BoxSettings = BoxSettings(),
        mask: MaskBranchSettings = MaskSettings(),
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
        self.mask = mask.build(self.backbone, self.pooler, self.box, self.num_classes)
        self.mask_form, self.mask_paste = mask.form, mask.paste
        self.evaluation = Evaluation(self.class_names, box.detections_per_image, mask.paste)
        self.weights = weights

    def loss_sums(self, inputs: Inputs, targets: Targets) -> dict[str, LossSum]:
        """Compute the losses of Faster R-CNN and `loss_mask` (section 3: L = L_cls + L_box + L_mask)."""
        features = self.backbone(self.normalize(inputs))
        pooled = PooledFeatures(self.pooler, features)
        rpn_losses, proposals = self.rpn.losses(features, inputs, targets, seed=2 * self.sampling_seed)
        # Faster R-CNN section 3.2: the box branch trains on the proposals; no gradient passes through coordinates.
        box_losses, rois = self.box.losses(pooled, proposals, inputs, targets, seed=2 * self.sampling_seed + 1)
        mask_losses = self.mask.losses(pooled, rois, inputs, targets, seed=2 * self.sampling_seed)
        return rpn_losses | box_losses | mask_losses

    def predict(self, inputs: Inputs) -> tuple[Detections, Proposals]:
        """Compute detections with masks, and proposals, in the resized frame."""
        features = self.backbone(self.normalize(inputs))
        pooled = PooledFeatures(self.pooler, features)
        proposals = self.rpn.predict(features, inputs)
        detections = self.box.predict(pooled, proposals, inputs)
        return self.mask.predict(pooled, detections), proposals

    def evaluate(self, inputs: Inputs, targets: Targets) -> tuple[Detections, Proposals, dict[str, LossSum]]:
        """`predict` and `loss_sums` in one pass: the losses are those of the proposals of evaluation."""
        features = self.backbone(self.normalize(inputs))
        pooled = PooledFeatures(self.pooler, features)
        rpn_losses, proposals = self.rpn.losses(features, inputs, targets, seed=2 * self.sampling_seed)
        detections, box_losses, rois = evaluate_boxes(
            self.box, pooled, proposals, inputs, targets, seed=2 * self.sampling_seed + 1
        )
        mask_losses = self.mask.losses(pooled, rois, inputs, targets, seed=2 * self.sampling_seed)
        return self.mask.predict(pooled, detections), proposals, rpn_losses | box_losses | mask_losses
