"""R-CNN, stage three: a linear box regressor per class on the features of pool5 (appendix C).

Shape letters: N images, P proposals, R pairs of an image, E examples of a class, K classes, F features.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from lightning.pytorch.utilities.rank_zero import rank_zero_info
from torch import Tensor, nn

from lightning_rcnn.backbones.plain import PlainBackbone
from lightning_rcnn.checkpoints.header import CLASS_PATH_KEY
from lightning_rcnn.class_paths import class_path
from lightning_rcnn.detectors.given_proposals import GivenProposals, given_proposals
from lightning_rcnn.detectors.optimization import (
    DEFAULT_OPTIMIZER,
    DEFAULT_SCHEDULE,
    LRSchedulerCallable,
    OptimizerCallable,
)
from lightning_rcnn.detectors.parameter_groups import ParameterGroupSettings
from lightning_rcnn.detectors.preprocessing import PreprocessingSettings
from lightning_rcnn.detectors.rcnn.example_pool import ExamplePool, Examples
from lightning_rcnn.detectors.rcnn.rcnn import BOX_WEIGHTS, DEFAULT_BACKBONE, RCNN, RegionSettings
from lightning_rcnn.detectors.rcnn.ridge import solve_ridge
from lightning_rcnn.detectors.rcnn.solved import SolvedStage
from lightning_rcnn.distributed import gather_on_rank_zero, overwrite_from_rank_zero, sum_over_ranks
from lightning_rcnn.errors import InputError
from lightning_rcnn.functional.boxes import encode
from lightning_rcnn.functional.matching import best_overlaps
from lightning_rcnn.functional.sampling import random_keys
from lightning_rcnn.ops.gather import gather_boxes
from lightning_rcnn.settings import Settings
from lightning_rcnn.settings_checks import Fraction, Positive, PositiveCount
from lightning_rcnn.structures import NO_IMAGE, Inputs, Targets


@dataclass(frozen=True)
class RidgeSettings(Settings):
    """Settings of the ridge regression.

    Args:
        regions_per_image: limit of randomly drawn pairs per image; no limit if not given.
        paired_iou: minimum IoU, exclusive, of a pair: a proposal and the object that it overlaps most.
        penalty: weight of the L2 penalty, the paper's lambda.
        feature_norm: mean norm to which features are scaled, so that the same penalty suits every network.
        examples_per_class: limit of randomly drawn examples per class. Each rank holds up to 1.25 times as many of each
            class, 4 bytes per feature; rank 0 solves for a matrix with the square of this many float64 entries.
    """

    regions_per_image: PositiveCount | None = None
    paired_iou: Fraction = 0.6
    penalty: Positive = 1000.0
    feature_norm: Positive = 20.0
    examples_per_class: PositiveCount = 10000


class RCNNBoxRegression(SolvedStage):
    """Stage three: solves for the box regressors by ridge regression, in one pass over the data.

    Its checkpoints hold a complete `RCNN`. Every rank collects examples of its images; rank 0 solves, class by class.

    Args:
        class_names, category_ids, backbone, proposals, regions: as in `RCNN`.
        ridge: settings of the regression and its examples.
        preprocessing, optimizer, schedule, parameter_groups, weights: as in `RCNN`.
    """

    def __init__(
        self,
        class_names: Sequence[str] = (),
        category_ids: Sequence[int] | None = None,
        backbone: PlainBackbone = DEFAULT_BACKBONE,
        proposals: GivenProposals = GivenProposals(),
        regions: RegionSettings = RegionSettings(),
        ridge: RidgeSettings = RidgeSettings(),
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
        self.ridge = ridge
        self.regions_per_image = min(ridge.regions_per_image or proposals.limit, proposals.limit)

    def layers_to_reset(self) -> tuple[nn.Linear, ...]:
        """Return the regressors, for which this stage solves."""
        return (self.box_regressors,)

    def require_stage_before(self) -> None:
        """Refuse to train without SVMs."""
        if not self.svms.weight.any():
            given = self.weights
            problem = "starts from the SVMs of stage two" if given is None else f"model.weights {given}: has no SVMs"
            raise InputError(
                f"RCNNBoxRegression: {problem}; give the checkpoint that `fit --model RCNNClassification` wrote with "
                "--model.weights FILE"
            )

    def begin_pass(self) -> None:
        """Start with empty example pools."""
        self._pools = [ExamplePool(self.ridge.examples_per_class) for _ in self.class_names]

    def collect(self, inputs: Inputs, targets: Targets) -> Tensor:
        """Collect the pairs of a batch; return the mean squared error of the current regressors."""
        boxes, labels, deltas, keys = self._pairs(inputs, targets)
        images = self.normalize(inputs)
        squares, number = deltas.new_zeros(()), deltas.new_zeros(())
        for chunk in self.chunks(labels > 0):
            pooled = self.pool5(self.warp(images, boxes[:, chunk]))
            predicted, features = self.box_deltas(pooled), pooled.flatten(1).float()
            label, target, key = (values[:, chunk].flatten(0, 1) for values in (labels, deltas, keys))
            for k, pool in enumerate(self._pools):
                own = label == k + 1
                squares += (predicted[own, k] - target[own]).square().sum()
                number += own.sum()
                pool.add(Examples(features[own].cpu(), target[own].cpu(), key[own].cpu()))
        return squares / number.clamp(min=1)

    def solve(self) -> None:
        """Solve on rank 0, class by class, and send the regressors to all ranks."""
        chosen = [pool.chosen() for pool in self._pools]
        penalty = self._penalty([examples.features for examples in chosen if examples is not None])
        counts = []
        for k, examples in enumerate(chosen):
            parts = [part for part in gather_on_rank_zero(examples) if part is not None]
            counts.append(sum(len(part.keys) for part in parts))
            if parts:
                features, deltas, _ = (torch.cat(tensors).to(self.device) for tensors in zip(*parts, strict=True))
                regression = solve_ridge(features, deltas, penalty)
                self.box_regressors.weight[4 * k : 4 * k + 4] = regression.weights
                self.box_regressors.bias[4 * k : 4 * k + 4] = regression.intercepts
        overwrite_from_rank_zero(self.box_regressors.weight, self.box_regressors.bias)
        listed = ", ".join(f"{name} {count}" for name, count in zip(self.class_names, counts, strict=True))
        rank_zero_info(f"Box regressors solved; pairs: {listed}.")

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Save an `RCNN`; the settings of this stage are in the configuration of the run."""
        super().on_save_checkpoint(checkpoint)
        checkpoint[CLASS_PATH_KEY] = class_path(RCNN)
        checkpoint["hyper_parameters"].pop("ridge")

    def _pairs(self, inputs: Inputs, targets: Targets) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Draw pairs: boxes [N, R, 4], labels [N, R] (0 without a pair), deltas [N, R, 4] and keys [N, R]."""
        proposals = given_proposals(inputs)
        overlaps = best_overlaps(targets.boxes, targets.is_object, targets.is_crowd, proposals.boxes)
        is_present = proposals.is_valid & (inputs.image_ids != NO_IMAGE)[:, None]
        is_paired = (overlaps.iou > self.ridge.paired_iou) & is_present
        # This host sync is cheap next to running the network on padding.
        num_pairs = max(1, int(is_paired.sum(dim=1).max()))
        chances, keys = (
            random_keys(seed, inputs.image_ids, proposals.boxes.shape[1])
            for seed in (2 * self.sampling_seed, 2 * self.sampling_seed + 1)
        )
        chance, drawn = torch.where(is_paired, chances, -1.0).topk(min(num_pairs, self.regions_per_image), dim=1)
        boxes = gather_boxes(proposals.boxes, drawn)
        gt_index = overlaps.gt_index.gather(1, drawn)
        labels = torch.where(chance >= 0, targets.labels.gather(1, gt_index), 0)
        gt_boxes = gather_boxes(targets.boxes, gt_index)
        # The drawn pairs of a crowded image have high chances; separate keys choose fairly among images.
        return boxes, labels, encode(gt_boxes, boxes, BOX_WEIGHTS), keys.gather(1, drawn)

    def _penalty(self, features: list[Tensor]) -> float:
        """Convert `ridge.penalty`, which is for scaled features, to the penalty for unscaled ones."""
        sums = torch.zeros(2)
        for class_features in features:
            sums += torch.tensor([float(class_features.norm(dim=1).sum()), float(len(class_features))])
        total, number = sum_over_ranks(sums.to(self.device)).tolist()
        return self.ridge.penalty * (total / (number * self.ridge.feature_norm)) ** 2 if total else self.ridge.penalty
