"""The region proposal network alone (Faster R-CNN section 3).

Ren, He, Girshick, Sun, NeurIPS 2015, arXiv 1506.01497; detectron2's `ProposalNetwork`.

Stages: (1) a backbone computes features of the whole image; (2) the region proposal network scores k anchors at every
position and moves them to objects. There is no third: the proposals are the result, for `lightning-rcnn propose` and a
Fast R-CNN ("alternating training", section 3.2), or for any search for objects of unknown classes.

It knows one class, "object": data of several classes are packed as one. As detections, proposals have the score of
their anchor; validation measures their average recall, and the AP of finding objects at all.
"""

from collections.abc import Sequence

import torch

from lightning_rcnn.backbones.base import Backbone
from lightning_rcnn.detectors.base import Detector
from lightning_rcnn.detectors.evaluation import Evaluation
from lightning_rcnn.detectors.faster_rcnn import DEFAULT_BACKBONE
from lightning_rcnn.detectors.optimization import (
    DEFAULT_OPTIMIZER,
    DEFAULT_SCHEDULE,
    LRSchedulerCallable,
    OptimizerCallable,
)
from lightning_rcnn.detectors.parameter_groups import ParameterGroupSettings
from lightning_rcnn.detectors.preprocessing import PreprocessingSettings
from lightning_rcnn.errors import InputError
from lightning_rcnn.functional.losses import LossSum
from lightning_rcnn.rpn.branch import RPNSettings
from lightning_rcnn.structures import PADDING_LABEL, Detections, Inputs, Proposals, Targets


class ProposalNetwork(Detector):
    """The region proposal network alone.

    Args:
        class_names: the name of the one class; the command line takes it from the shards.
        category_ids: id of the class in its data set, for results files; 1 if not given.
        backbone: network that computes the feature maps; ResNet-50 with FPN from scratch if not given.
        rpn: settings of the region proposal branch; `post_nms_top_n` limits the detections.
        preprocessing, optimizer, schedule, parameter_groups: as in `Detector`.
        weights: detector to start from: file or URL of ours or detectron2's.

    Raises:
        InputError: there is more than one class.
    """

    def __init__(
        self,
        class_names: Sequence[str] = (),
        category_ids: Sequence[int] | None = None,
        backbone: Backbone = DEFAULT_BACKBONE,
        rpn: RPNSettings = RPNSettings(),
        preprocessing: PreprocessingSettings = PreprocessingSettings(),
        optimizer: OptimizerCallable = DEFAULT_OPTIMIZER,
        schedule: LRSchedulerCallable = DEFAULT_SCHEDULE,
        parameter_groups: ParameterGroupSettings = ParameterGroupSettings(),
        weights: str | None = None,
    ) -> None:
        super().__init__(class_names, category_ids, preprocessing, optimizer, schedule, parameter_groups)
        if self.num_classes > 1:
            raise InputError(
                f"ProposalNetwork: class_names has {self.num_classes} classes, and proposals have none; pack the data "
                "with --classes '*=object'"
            )
        self.backbone = backbone
        self.backbone.align_with_image()
        self.backbone.take_region_stage()  # of a C4 network; it would run on regions
        self.rpn = rpn.build(self.backbone)
        self.evaluation = Evaluation(self.class_names, rpn.post_nms_top_n[1], mask_paste=None)
        self.weights = weights

    def loss_sums(self, inputs: Inputs, targets: Targets) -> dict[str, LossSum]:
        """Compute `loss_objectness` and `loss_rpn_box` (section 3.1.2, equation 1)."""
        features = self.backbone(self.normalize(inputs))
        losses, _ = self.rpn.losses(features, inputs, targets, seed=2 * self.sampling_seed)
        return losses

    def predict(self, inputs: Inputs) -> tuple[Detections, Proposals]:
        """Compute proposals, and return them as detections, too, in the resized frame."""
        proposals = self.rpn.predict(self.backbone(self.normalize(inputs)), inputs)
        return self._as_detections(proposals), proposals

    def evaluate(self, inputs: Inputs, targets: Targets) -> tuple[Detections, Proposals, dict[str, LossSum]]:
        """`predict` and `loss_sums` in one pass."""
        features = self.backbone(self.normalize(inputs))
        losses, proposals = self.rpn.losses(features, inputs, targets, seed=2 * self.sampling_seed)
        return self._as_detections(proposals), proposals, losses

    def _as_detections(self, proposals: Proposals) -> Detections:
        is_probability = self.rpn.settings.ranking == "probability"
        scores = proposals.scores if is_probability else proposals.scores.sigmoid()
        return Detections(
            torch.where(proposals.is_valid[..., None], proposals.boxes, 0.0),
            torch.where(proposals.is_valid, scores, 0.0),
            torch.where(proposals.is_valid, 1, PADDING_LABEL),
        )
