"""R-CNN, stage one: the network learns to classify warped regions (section 2.3, "Domain-specific fine-tuning").

Shape letters: N images, R sampled regions, B regions of the whole batch, K classes.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor, nn

from lightning_rcnn.backbones.plain import PlainBackbone
from lightning_rcnn.detectors.given_proposals import GivenProposals, given_proposals
from lightning_rcnn.detectors.optimization import (
    DEFAULT_OPTIMIZER,
    DEFAULT_SCHEDULE,
    LRSchedulerCallable,
    OptimizerCallable,
)
from lightning_rcnn.detectors.parameter_groups import ParameterGroupSettings
from lightning_rcnn.detectors.preprocessing import PreprocessingSettings
from lightning_rcnn.detectors.rcnn.rcnn import BOX_WEIGHTS, DEFAULT_BACKBONE, RCNN, RegionScores, RegionSettings
from lightning_rcnn.functional.losses import LossSum, classification_loss
from lightning_rcnn.functional.targets import roi_targets
from lightning_rcnn.roi_heads.active import active_indices
from lightning_rcnn.settings import Settings
from lightning_rcnn.settings_checks import Fraction, PositiveCount
from lightning_rcnn.structures import Inputs, Targets


@dataclass(frozen=True)
class FineTuningSettings(Settings):
    """Settings of the sampling of regions.

    Args:
        regions_per_image: number of regions sampled in training. The paper's batch of 32 positive and 96 background
            regions is `data.batch_size` x `regions_per_image`.
        positive_fraction: maximum fraction of positives among them.
        positive_iou: IoU with an object from which on a region is positive; all others are background.
        crowd_ioa: fraction of its area in a crowd above which a region is not background (0.7 in Detectron); None drops
            crowds from training, as torchvision's references and detectron2 do.
    """

    regions_per_image: PositiveCount = 64
    positive_fraction: Fraction = 0.25
    positive_iou: Fraction = 0.5
    crowd_ioa: Fraction | None = None


class RCNNFineTuning(RCNN):
    """Stage one: the network with a softmax over K+1 classes instead of the SVMs; it does not refine boxes.

    Args:
        class_names, category_ids, backbone, proposals, regions: as in `RCNN`.
        sampling: settings of the sampling of regions.
        preprocessing, optimizer, schedule, parameter_groups, weights: as in `RCNN`.
    """

    def __init__(
        self,
        class_names: Sequence[str] = (),
        category_ids: Sequence[int] | None = None,
        backbone: PlainBackbone = DEFAULT_BACKBONE,
        proposals: GivenProposals = GivenProposals(),
        regions: RegionSettings = RegionSettings(),
        sampling: FineTuningSettings = FineTuningSettings(),
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
            proposals,
            regions,
            preprocessing,
            optimizer,
            schedule,
            parameter_groups,
            weights,
        )
        self.sampling = sampling

    @property
    def loss_names(self) -> tuple[str, ...]:
        """Names of the losses: that of the softmax alone."""
        return ("loss_classifier",)

    def layers_to_reset(self) -> tuple[nn.Linear, ...]:
        """Return the layers that were solved for another network."""
        return self.svms, self.box_regressors

    def require_stage_before(self) -> None:
        """Accept any start: there is no previous stage."""

    def loss_sums(self, inputs: Inputs, targets: Targets) -> dict[str, LossSum]:
        """Compute `loss_classifier`."""
        rois = roi_targets(
            given_proposals(inputs),
            targets,
            inputs.image_ids,
            self.sampling_seed,
            positive_iou=self.sampling.positive_iou,
            negative_iou=(0.0, self.sampling.positive_iou),
            num_samples=self.sampling.regions_per_image,
            positive_fraction=self.sampling.positive_fraction,
            crowd_ioa=self.sampling.crowd_ioa,
            box_weights=BOX_WEIGHTS,
        )
        images = self.normalize(inputs)
        active = active_indices(rois.is_valid.any(dim=0))
        hidden = self.fc7(self.pool5(self.warp(images, rois.boxes[:, active])))
        class_logits = self.softmax(hidden).unflatten(0, (len(images), -1))
        is_valid = rois.is_valid[:, active]
        loss = classification_loss(class_logits, rois.labels[:, active], is_valid)
        return {"loss_classifier": LossSum(loss, is_valid.sum())}

    def score(self, pooled: Tensor, hidden: Tensor) -> RegionScores:
        """Compute scores [B, K] by the softmax from `fc7`; deltas are zero."""
        scores = self.softmax(hidden).float().softmax(-1)[:, 1:]
        return RegionScores(scores, scores.new_zeros((*scores.shape, 4)))
