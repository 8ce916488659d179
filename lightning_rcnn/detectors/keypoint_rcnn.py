"""Keypoint R-CNN: Mask R-CNN for human pose estimation.

He, Gkioxari, Dollar, Girshick, ICCV 2017, arXiv 1703.06870, section 5.

Stages: (1) to (3) are those of Faster R-CNN: backbone, region proposals, box branch. (4) The keypoint branch predicts a
heat map of 56 x 56 for each keypoint of a region.
What changed since Mask R-CNN: the mask of a keypoint is one-hot, a single cell, so its loss is a softmax over the cells
of the map, where each cell of a mask has a sigmoid of its own; and eight wider convolutions and a map of twice the
resolution, because a keypoint has to be found to the pixel.

Where we deviate, and why: keypoints are of all classes alike, as in torchvision and detectron2 (the paper has one
class, person); the peak is found in the map resized to its box, as in Detectron, and not in the map itself. Numbers are
those of torchvision; each convention in which detectron2 differs is a setting.
"""

from collections.abc import Sequence

from lightning_rcnn.backbones.base import Backbone
from lightning_rcnn.detectors.base import Detector
from lightning_rcnn.detectors.evaluation import Evaluation
from lightning_rcnn.detectors.mask_rcnn import DEFAULT_BACKBONE
from lightning_rcnn.detectors.optimization import (
    DEFAULT_OPTIMIZER,
    DEFAULT_SCHEDULE,
    LRSchedulerCallable,
    OptimizerCallable,
)
from lightning_rcnn.detectors.parameter_groups import ParameterGroupSettings
from lightning_rcnn.detectors.preprocessing import PreprocessingSettings
from lightning_rcnn.evaluation.oks import sigmas_of
from lightning_rcnn.functional.losses import LossSum
from lightning_rcnn.roi_heads.box_branch import BoxSettings
from lightning_rcnn.roi_heads.box_predictions import evaluate_boxes
from lightning_rcnn.roi_heads.keypoint_branch import KeypointSettings
from lightning_rcnn.roi_heads.pooler import PooledFeatures, PoolerSettings
from lightning_rcnn.rpn.branch import RPNSettings
from lightning_rcnn.settings_checks import Positive
from lightning_rcnn.skeleton import COCO_PERSON, Skeleton
from lightning_rcnn.structures import Detections, Inputs, Proposals, Targets


class KeypointRCNN(Detector):
    """Keypoint R-CNN.

    Args:
        class_names, category_ids: as in `Detector`.
        skeleton: keypoints of the objects; the command line takes them from the shards. COCO's of a person by default.
        backbone: network that computes the feature maps; ResNet-50 with FPN from scratch if not given.
        rpn: settings of the region proposal branch.
        pooler: settings of RoI pooling.
        box: settings of the box branch.
        keypoint: settings of the keypoint branch.
        oks_sigmas: standard deviation of each keypoint's annotation in OKS, as a share of the object's size, or one for
            all; COCO's for COCO's keypoints and .05 for others if not given.
        preprocessing, optimizer, schedule, parameter_groups: as in `Detector`.
        weights: detector to start from: file or URL of ours, torchvision's or detectron2's, or torchvision's name
            (`keypointrcnn_resnet50_fpn`); predictors for other classes or keypoints are initialized.

    Raises:
        InputError: there is neither one of `oks_sigmas` for each keypoint nor one for all; or see `Detector`.
    """

    def __init__(
        self,
        class_names: Sequence[str] = (),
        category_ids: Sequence[int] | None = None,
        skeleton: Skeleton | None = None,
        backbone: Backbone = DEFAULT_BACKBONE,
        rpn: RPNSettings = RPNSettings(),
        pooler: PoolerSettings = PoolerSettings(),
        box: BoxSettings = BoxSettings(),
        keypoint: KeypointSettings = KeypointSettings(),
        oks_sigmas: Sequence[Positive] | None = None,
        preprocessing: PreprocessingSettings = PreprocessingSettings(),
        optimizer: OptimizerCallable = DEFAULT_OPTIMIZER,
        schedule: LRSchedulerCallable = DEFAULT_SCHEDULE,
        parameter_groups: ParameterGroupSettings = ParameterGroupSettings(),
        weights: str | None = None,
    ) -> None:
        super().__init__(class_names, category_ids, preprocessing, optimizer, schedule, parameter_groups)
        self.skeleton = skeleton or COCO_PERSON
        self.keypoints_drawn_above = keypoint.drawn_above
        self.backbone = backbone
        self.backbone.align_with_image()
        self.pooler = pooler.build(self.backbone)
        self.box = box.build(self.backbone, self.pooler, self.num_classes)
        self.rpn = rpn.build(self.backbone)
        self.keypoint = keypoint.build(self.backbone, self.pooler, self.box, len(self.skeleton))
        sigmas = sigmas_of(self.skeleton, oks_sigmas)
        self.evaluation = Evaluation(self.class_names, box.detections_per_image, mask_paste=None, oks_sigmas=sigmas)
        self.weights = weights

    def loss_sums(self, inputs: Inputs, targets: Targets) -> dict[str, LossSum]:
        """Compute the losses of Faster R-CNN and `loss_keypoint`."""
        features = self.backbone(self.normalize(inputs))
        pooled = PooledFeatures(self.pooler, features)
        rpn_losses, proposals = self.rpn.losses(features, inputs, targets, seed=2 * self.sampling_seed)
        # Faster R-CNN section 3.2: the box branch trains on the proposals; no gradient passes through coordinates.
        box_losses, rois = self.box.losses(pooled, proposals, inputs, targets, seed=2 * self.sampling_seed + 1)
        return rpn_losses | box_losses | self.keypoint.losses(pooled, rois, targets)

    def predict(self, inputs: Inputs) -> tuple[Detections, Proposals]:
        """Compute detections with keypoints, and proposals, in the resized frame."""
        features = self.backbone(self.normalize(inputs))
        pooled = PooledFeatures(self.pooler, features)
        proposals = self.rpn.predict(features, inputs)
        # As for masks (section 3.1), keypoints come from the detections, whose boxes are better than the proposals.
        detections = self.box.predict(pooled, proposals, inputs)
        return self.keypoint.predict(pooled, detections, inputs), proposals

    def evaluate(self, inputs: Inputs, targets: Targets) -> tuple[Detections, Proposals, dict[str, LossSum]]:
        """`predict` and `loss_sums` in one pass: the losses are those of the proposals of evaluation."""
        features = self.backbone(self.normalize(inputs))
        pooled = PooledFeatures(self.pooler, features)
        rpn_losses, proposals = self.rpn.losses(features, inputs, targets, seed=2 * self.sampling_seed)
        detections, box_losses, rois = evaluate_boxes(
            self.box, pooled, proposals, inputs, targets, seed=2 * self.sampling_seed + 1
        )
        losses = rpn_losses | box_losses | self.keypoint.losses(pooled, rois, targets)
        return self.keypoint.predict(pooled, detections, inputs), proposals, losses
