"""Fast R-CNN.

Girshick, ICCV 2015, arXiv 1504.08083.

Stages: (1) a backbone computes features of the whole image once; (2) regions proposed by another algorithm are pooled
from them (RoIPool); (3) the box branch classifies each region and refines its box.
What changed since R-CNN: one pass of the network per image instead of one per region, and one training of softmax and
box regression together instead of three stages.

Where we deviate, and why: the ground truth joins the proposals in training, as in Girshick's code and all later ones; a
batch has any number of images (the paper's 2 x 64 regions are `data.batch_size` and `box.samples_per_image`);
torchvision's AlexNet replaces CaffeNet. Numbers default to the paper's.
"""

from collections.abc import Sequence
from typing import Any

from lightning_rcnn.backbones.base import Backbone
from lightning_rcnn.backbones.plain import PlainBackbone
from lightning_rcnn.box_losses import SmoothL1Loss
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
from lightning_rcnn.functional.losses import LossSum
from lightning_rcnn.parts import part
from lightning_rcnn.roi_heads.box_branch import BoxSettings
from lightning_rcnn.roi_heads.box_head import TwoLayerHead
from lightning_rcnn.roi_heads.box_predictions import evaluate_boxes
from lightning_rcnn.roi_heads.pooler import PooledFeatures, PoolerSettings
from lightning_rcnn.structures import Detections, Inputs, Proposals, Targets

# Plain data, so that each detector builds its own backbone.
DEFAULT_BACKBONE: Any = part(PlainBackbone)
PAPER = BoxSettings(
    head=TwoLayerHead(width=4096, dropout=0.5),
    samples_per_image=64,  # section 2.3: a quarter of them positive
    lowest_negative_iou=0.1,  # section 2.3: background from [.1, .5), "a heuristic for hard example mining"
    box_loss=SmoothL1Loss(beta=1.0),  # equation 3
    nms_iou=0.3,
)


class FastRCNN(Detector):
    """Fast R-CNN.

    Args:
        class_names: foreground classes in order; the command line takes them from the shards.
        category_ids: ids of the classes in their data set, for results files; 1..K if not given.
        backbone: network that computes the feature maps; VGG16 from scratch if not given.
        proposals: limit of proposals per image, and selective search for images without any.
        pooler: settings of RoI pooling.
        box: settings of the box branch.
        preprocessing, optimizer, schedule, parameter_groups: as in `Detector`.
        weights: detector to start from: file or URL of a checkpoint of ours.
    """

    def __init__(
        self,
        class_names: Sequence[str] = (),
        category_ids: Sequence[int] | None = None,
        backbone: Backbone = DEFAULT_BACKBONE,
        proposals: GivenProposals = GivenProposals(),
        pooler: PoolerSettings = PoolerSettings(operator="pool"),
        box: BoxSettings = PAPER,
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
        self.proposal_limit, self.search = proposals.limit, proposals.build()
        self.evaluation = Evaluation(self.class_names, box.detections_per_image, mask_paste=None)
        self.weights = weights

    def loss_sums(self, inputs: Inputs, targets: Targets) -> dict[str, LossSum]:
        """Compute `loss_classifier` and `loss_box` (section 2.3, equation 1)."""
        features = self.backbone(self.normalize(inputs))
        pooled = PooledFeatures(self.pooler, features)
        losses, _ = self.box.losses(pooled, given_proposals(inputs), inputs, targets, self.sampling_seed)
        return losses

    def predict(self, inputs: Inputs) -> tuple[Detections, Proposals]:
        """Compute detections, and return them with the given proposals, in the resized frame."""
        features = self.backbone(self.normalize(inputs))
        pooled = PooledFeatures(self.pooler, features)
        proposals = given_proposals(inputs)
        return self.box.predict(pooled, proposals, inputs), proposals

    def evaluate(self, inputs: Inputs, targets: Targets) -> tuple[Detections, Proposals, dict[str, LossSum]]:
        """`predict` and `loss_sums` in one pass: the losses are those of the proposals of evaluation."""
        features = self.backbone(self.normalize(inputs))
        pooled = PooledFeatures(self.pooler, features)
        proposals = given_proposals(inputs)
        detections, losses, _ = evaluate_boxes(self.box, pooled, proposals, inputs, targets, self.sampling_seed)
        return detections, proposals, losses
