"""Losses of a validation, computed together with its detections."""

import os
from typing import Protocol

from torch import Tensor

from lightning_rcnn.class_paths import is_newest
from lightning_rcnn.detectors.evaluation import Evaluation
from lightning_rcnn.functional.losses import LossSum
from lightning_rcnn.skeleton import Skeleton
from lightning_rcnn.structures import Batch, Detections, Inputs, MaskForm, Proposals, Targets


class Evaluable(Protocol):
    """What is needed of a detector."""

    evaluation: Evaluation
    mask_form: MaskForm
    skeleton: Skeleton | None
    sampling_seed: Tensor
    validation_losses: bool

    @property
    def loss_names(self) -> tuple[str, ...]:
        """See `Detector`."""

    def evaluate(self, inputs: Inputs, targets: Targets) -> tuple[Detections, Proposals, dict[str, LossSum]]:
        """See `Detector`."""

    def predict(self, inputs: Inputs) -> tuple[Detections, Proposals]:
        """See `Detector`."""

    def loss_sums(self, inputs: Inputs, targets: Targets) -> dict[str, LossSum]:
        """See `Detector`."""


def can_compute_losses(detector: Evaluable, batch: Batch) -> bool:
    """Tell whether losses are wanted, and detector and batch have what they need."""
    if batch.targets is None or not detector.validation_losses:
        return False
    has_masks = detector.mask_form == "none" or batch.targets.masks is not None
    has_keypoints = detector.skeleton is None or batch.targets.keypoints is not None
    return has_masks and has_keypoints and bool(detector.loss_names)


def evaluate_with_losses(detector: Evaluable, batch: Batch) -> tuple[Detections, Proposals]:
    """Detect in the resized frame, and add the losses to the detector's evaluation.

    Every validation samples the same regions: the seed is that of the run, and no step's.
    """
    assert batch.targets is not None
    detector.sampling_seed.fill_(int(os.environ.get("PL_GLOBAL_SEED", 0)) % 2**31)
    if is_newest(type(detector), "evaluate", than=("predict", "loss_sums")):
        detections, proposals, sums = detector.evaluate(batch.inputs, batch.targets)
    else:  # a subclass changed one of the two, which `evaluate` does not know
        detections, proposals = detector.predict(batch.inputs)
        sums = detector.loss_sums(batch.inputs, batch.targets)
    detector.evaluation.losses.update(sums)
    return detections, proposals
