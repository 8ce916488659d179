"""What a detector calls of a box branch, whoever wrote it."""

from typing import Protocol, runtime_checkable

from torch import Tensor

from lightning_rcnn.class_paths import is_newest
from lightning_rcnn.functional.losses import LossSum
from lightning_rcnn.functional.targets import RoIs
from lightning_rcnn.roi_heads.pooler import PooledFeatures
from lightning_rcnn.structures import Detections, Inputs, Proposals, Targets


class RegionSampler(Protocol):
    """Interface of a box branch that the mask branch needs; see `BoxBranch`."""

    pooled_size: int
    max_positives: int


class BoxPredictions(RegionSampler, Protocol):
    """Interface of a box branch that a detector needs."""

    def losses(
        self, pooled: PooledFeatures, proposals: Proposals, inputs: Inputs, targets: Targets, seed: Tensor
    ) -> tuple[dict[str, LossSum], RoIs]:
        """See `BoxBranch`."""

    def predict(self, pooled: PooledFeatures, proposals: Proposals, inputs: Inputs) -> Detections:
        """See `BoxBranch`."""


@runtime_checkable
class EvaluatesAtOnce(Protocol):
    """Interface of a box branch that detects and computes losses in one pass."""

    def evaluate(
        self, pooled: PooledFeatures, proposals: Proposals, inputs: Inputs, targets: Targets, seed: Tensor
    ) -> tuple[Detections, dict[str, LossSum], RoIs]:
        """See `BoxBranch`."""


def evaluate_boxes(
    branch: BoxPredictions,
    pooled: PooledFeatures,
    proposals: Proposals,
    inputs: Inputs,
    targets: Targets,
    seed: Tensor,
) -> tuple[Detections, dict[str, LossSum], RoIs]:
    """Call `evaluate` of a branch; where it has none of its own, `predict` and `losses`: two passes, the same result.

    A class that overrides `predict` or `losses` but not an `evaluate` that it inherits has none of its own.
    """
    if isinstance(branch, EvaluatesAtOnce) and is_newest(type(branch), "evaluate", than=("predict", "losses")):
        return branch.evaluate(pooled, proposals, inputs, targets, seed)
    losses, rois = branch.losses(pooled, proposals, inputs, targets, seed)
    return branch.predict(pooled, proposals, inputs), losses, rois
