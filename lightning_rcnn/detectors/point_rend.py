"""PointRend: image segmentation as rendering.

Kirillov, Wu, He, Girshick, CVPR 2020, arXiv 1912.08193.

Stages: (1) to (3) are those of Mask R-CNN: backbone, region proposals, box branch. (4) The mask branch predicts a
coarse mask of 7 x 7 and refines it like a renderer refines an image: it doubles the resolution several times, and each
time computes only the points whose probability is closest to one half, from features of the finest map at exactly these
points and from the coarse mask.
What changed since Mask R-CNN: masks of 224 x 224 for the cost of a few thousand points; outlines follow the object
instead of a grid of 28 x 28. In training, points are drawn at random, most of them where the coarse mask is uncertain.

Where we deviate, and why: ground-truth masks are sampled from the annotated bitmap in its own resolution, which is not
resized to the network's input. Random points depend on the image and the seed only, so that a training can be resumed
and distributed without other results. Numbers are those of the authors' code in detectron2.
"""

from collections.abc import Sequence

from lightning_rcnn.backbones.base import Backbone
from lightning_rcnn.detectors.mask_rcnn import DEFAULT_BACKBONE, MaskRCNN
from lightning_rcnn.detectors.optimization import (
    DEFAULT_OPTIMIZER,
    DEFAULT_SCHEDULE,
    LRSchedulerCallable,
    OptimizerCallable,
)
from lightning_rcnn.detectors.parameter_groups import ParameterGroupSettings
from lightning_rcnn.detectors.preprocessing import PreprocessingSettings
from lightning_rcnn.roi_heads.box_branch import BoxSettings
from lightning_rcnn.roi_heads.point_rend_branch import PointRendSettings
from lightning_rcnn.roi_heads.pooler import PoolerSettings
from lightning_rcnn.rpn.branch import RPNSettings


class PointRend(MaskRCNN):
    """Mask R-CNN whose masks are rendered.

    Args:
        mask: settings of the mask branch.
        class_names, category_ids, backbone, rpn, pooler, box: as in `MaskRCNN`.
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
        box: BoxSettings = BoxSettings(),
        mask: PointRendSettings = PointRendSettings(),
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
