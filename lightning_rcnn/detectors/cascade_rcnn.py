"""Cascade R-CNN: delving into high quality object detection.

Cai, Vasconcelos, CVPR 2018, arXiv 1712.00726.

Stages: (1) and (2) are those of Faster R-CNN: backbone and region proposals. (3) The box branch is a cascade: each of
three stages classifies regions and refines their boxes, and hands the refined boxes to the next one.
What changed since Faster R-CNN: a branch that counts a region as positive from IoU 0.5 on is good at boxes of about
that IoU, and detects close false positives; one that demands 0.7 lacks positives, because proposals are rarely so good.
Refined boxes are: so each stage demands more (0.5, 0.6, 0.7) and still gets enough positives (section 4.2).

Where we deviate, and why: as in the authors' second paper (arXiv 1906.09756) and detectron2, each stage sends a third
of its gradient to the backbone, and masks are learned on the regions of the first stage and predicted in the boxes of
the last. Scores are the mean of the stages', each of its own input boxes.
"""

from collections.abc import Sequence

from lightning_rcnn.backbones.base import Backbone
from lightning_rcnn.detectors.faster_rcnn import DEFAULT_BACKBONE, FasterRCNN
from lightning_rcnn.detectors.mask_rcnn import MaskRCNN
from lightning_rcnn.detectors.optimization import (
    DEFAULT_OPTIMIZER,
    DEFAULT_SCHEDULE,
    LRSchedulerCallable,
    OptimizerCallable,
)
from lightning_rcnn.detectors.parameter_groups import ParameterGroupSettings
from lightning_rcnn.detectors.preprocessing import PreprocessingSettings
from lightning_rcnn.roi_heads.cascade_branch import CascadeSettings
from lightning_rcnn.roi_heads.mask_branch import MaskSettings
from lightning_rcnn.roi_heads.pooler import PoolerSettings
from lightning_rcnn.rpn.branch import RPNSettings


class CascadeRCNN(FasterRCNN):
    """Cascade R-CNN: Faster R-CNN whose box branch is a cascade.

    Args:
        box: settings of the cascade.
        class_names, category_ids, backbone, rpn, pooler: as in `FasterRCNN`.
        preprocessing, optimizer, schedule, parameter_groups: as in `Detector`.
        weights: detector to start from: file or URL of ours or detectron2's; predictors for other classes are
            initialized.
    """

    def __init__(
        self,
        class_names: Sequence[str] = (),
        category_ids: Sequence[int] | None = None,
        backbone: Backbone = DEFAULT_BACKBONE,
        rpn: RPNSettings = RPNSettings(),
        pooler: PoolerSettings = PoolerSettings(),
        box: CascadeSettings = CascadeSettings(),
        preprocessing: PreprocessingSettings = PreprocessingSettings(),
        optimizer: OptimizerCallable = DEFAULT_OPTIMIZER,
        schedule: LRSchedulerCallable = DEFAULT_SCHEDULE,
        parameter_groups: ParameterGroupSettings = ParameterGroupSettings(),
        weights: str | None = None,
    ) -> None:
        super().__init__(
            class_names,
            category_ids,
            backbone,
            rpn,
            pooler,
            box,
            preprocessing,
            optimizer,
            schedule,
            parameter_groups,
            weights,
        )


class CascadeMaskRCNN(MaskRCNN):
    """Cascade Mask R-CNN: Mask R-CNN whose box branch is a cascade (arXiv 1906.09756, section 3.3).

    Args:
        box: settings of the cascade.
        class_names, category_ids, backbone, rpn, pooler, mask: as in `MaskRCNN`.
        preprocessing, optimizer, schedule, parameter_groups: as in `Detector`.
        weights: as in `CascadeRCNN`.
    """

    def __init__(
        self,
        class_names: Sequence[str] = (),
        category_ids: Sequence[int] | None = None,
        backbone: Backbone = DEFAULT_BACKBONE,
        rpn: RPNSettings = RPNSettings(),
        pooler: PoolerSettings = PoolerSettings(),
        box: CascadeSettings = CascadeSettings(),
        mask: MaskSettings = MaskSettings(),
        preprocessing: PreprocessingSettings = PreprocessingSettings(),
        optimizer: OptimizerCallable = DEFAULT_OPTIMIZER,
        schedule: LRSchedulerCallable = DEFAULT_SCHEDULE,
        parameter_groups: ParameterGroupSettings = ParameterGroupSettings(),
        weights: str | None = None,
    ) -> None:
        super().__init__(
            class_names,
            category_ids,
            backbone,
            rpn,
            pooler,
            box,
            mask,
            preprocessing,
            optimizer,
            schedule,
            parameter_groups,
            weights,
        )
