"""R-CNN, stage one: the network learns to tell warped regions apart (section 2.3, "Domain-specific fine-tuning").

Shape letters: N images, R sampled regions, B regions of the whole batch, K classes.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any

from torch import Tensor, nn

from lightning_rcnn.detectors.on_proposals import given_proposals
from lightning_rcnn.detectors.rcnn import BOX_WEIGHTS, RCNN, RegionScores
from lightning_rcnn.heads.occupied import slots_to_compute
from lightning_rcnn.losses import LossSum, classification_loss, mean_losses
from lightning_rcnn.structures import Inputs, Targets
from lightning_rcnn.targets import region_targets


class RCNNFineTuning(RCNN):
    """The network, with a softmax over K+1 classes in place of the SVMs; detections are the softmax's, not refined.

    The paper's batch of 32 positive and 96 background regions is `data.batch_size` x `regions_per_image`.

    Args:
        class_names: as in `RCNN`.
        regions_per_image: drawn in training.
        positive_fraction: at most this share of them is positive.
        positive_iou: regions that overlap an object by at least this are positive; all others are background.
        crowd_share: a region with more of its area in a crowd is no background; None drops crowds from training.
        **kwargs: of `RCNN` and `Detector`.
    """

    loss_names = ("loss_classifier",)

    def __init__(
        self,
        class_names: Sequence[str] = (),
        regions_per_image: int = 64,
        positive_fraction: float = 0.25,
        positive_iou: float = 0.5,
        crowd_share: float | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(class_names, **kwargs)
        # With another network these would be wrong.
        for solved in (self.svms, self.box_regressors):
            nn.init.zeros_(solved.weight)
            nn.init.zeros_(solved.bias)
        self.region_targets = partial(
            region_targets,
            positive_iou=positive_iou,
            negative_iou=(0.0, positive_iou),
            num_samples=regions_per_image,
            positive_fraction=positive_fraction,
            crowd_share=crowd_share,
            box_weights=BOX_WEIGHTS,
        )

    def require_stage_before(self) -> None:
        """Nothing comes before."""

    def losses(self, inputs: Inputs, targets: Targets) -> dict[str, Tensor]:
        """`loss_classifier`."""
        regions = self.region_targets(given_proposals(inputs), targets, inputs.image_ids, self.sampling_seed)
        images = self.normalise(inputs.images, inputs.image_sizes)
        present = slots_to_compute(regions.is_valid.any(dim=0))
        hidden = self.fc7(self.pool5(self.warp(images, regions.boxes[:, present])))
        class_logits = self.softmax(hidden).unflatten(0, (len(images), -1))
        is_valid = regions.is_valid[:, present]
        loss = classification_loss(class_logits, regions.labels[:, present], is_valid)
        return mean_losses({"loss_classifier": LossSum(loss, is_valid.sum())})

    def score(self, pooled: Tensor, hidden: Tensor) -> RegionScores:
        """Scores [B, K] by the softmax from `fc7`; boxes stay where they are."""
        scores = self.softmax(hidden).float().softmax(-1)[:, 1:]
        return RegionScores(scores, scores.new_zeros((*scores.shape, 4)))
