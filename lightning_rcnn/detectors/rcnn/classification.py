"""R-CNN, stage two: a linear SVM per class on the features of fc7 (section 2.3, "Object category classifiers").

Shape letters: N images, M ground truths, P proposals, C candidates, K classes, F features.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from lightning.pytorch.utilities.rank_zero import rank_zero_info
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
from lightning_rcnn.detectors.rcnn.mining import ExampleCache
from lightning_rcnn.detectors.rcnn.rcnn import DEFAULT_BACKBONE, RegionSettings
from lightning_rcnn.detectors.rcnn.solved import SolvedStage
from lightning_rcnn.distributed import gather_on_rank_zero, overwrite_from_rank_zero, sum_over_ranks
from lightning_rcnn.errors import InputError
from lightning_rcnn.functional.boxes import intersection, pairwise_iou
from lightning_rcnn.functional.sampling import random_keys
from lightning_rcnn.functional.targets import is_in_crowd
from lightning_rcnn.ops.gather import gather_boxes
from lightning_rcnn.settings import Settings
from lightning_rcnn.settings_checks import Fraction, NonNegative, Positive, PositiveCount
from lightning_rcnn.structures import NO_IMAGE, Inputs, Proposals, Targets


@dataclass(frozen=True)
class SVMSettings(Settings):
    """Settings of the SVMs and of hard negative mining.

    Args:
        regions_per_image: limit of randomly drawn proposals per image; no limit if not given.
        negative_iou: IoU with each object of a class below which a region is its negative (section 2.3).
        crowd_ioa: fraction of its area in a crowd above which a region is not a negative (0.7 in Detectron); None drops
            crowds from training, as torchvision's references and detectron2 do.
        cost: cost of a violated margin (liblinear's C).
        positive_weight: factor of the cost for positives.
        bias_feature: value of the feature that gives the bias; a larger one penalizes the bias less (liblinear's B).
        feature_norm: mean norm to which features are scaled, measured on the first batch, so that the same cost suits
            every network.
        hard_margin: score above which a negative is hard and kept; at -1 or below it has no loss.
        easy_margin: score below which a kept negative is dropped after a solution.
        solve_after: number of new hard examples that triggers a solution within the pass.
        cache_limit: limit of examples kept after a solution; rank 0 holds 4 bytes per example and feature.
    """

    regions_per_image: PositiveCount | None = None
    negative_iou: Fraction = 0.3
    crowd_ioa: Fraction | None = None
    cost: Positive = 1e-3
    positive_weight: Positive = 2.0
    bias_feature: NonNegative = 10.0
    feature_norm: Positive = 20.0
    hard_margin: float = -1.0
    easy_margin: float = -1.2
    solve_after: PositiveCount = 2000
    cache_limit: PositiveCount = 40000


class RCNNClassification(SolvedStage):
    """Stage two: solves for the SVMs with hard negative mining, in one pass over the data.

    Positives are the ground-truth boxes only. Negatives of a class are regions with low IoU with each of its objects;
    those that violate the margin of the current SVM are kept. Every rank mines its own images, and sends hard examples
    to rank 0, which solves.

    Args:
        class_names, category_ids, backbone, proposals, regions: as in `RCNN`.
        svm: settings of the SVMs and of hard negative mining.
        preprocessing, optimizer, schedule, parameter_groups, weights: as in `RCNN`.
    """

    def __init__(
        self,
        class_names: Sequence[str] = (),
        category_ids: Sequence[int] | None = None,
        backbone: PlainBackbone = DEFAULT_BACKBONE,
        proposals: GivenProposals = GivenProposals(),
        regions: RegionSettings = RegionSettings(),
        svm: SVMSettings = SVMSettings(),
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
        self.svm = svm
        self.regions_per_image = min(svm.regions_per_image or proposals.limit, proposals.limit)

    def layers_to_reset(self) -> tuple[nn.Linear, ...]:
        """Return the SVMs, for which this stage solves, and the regressors, for which the next one does."""
        return self.svms, self.box_regressors

    def require_stage_before(self) -> None:
        """Refuse to train without a network that was fine-tuned for these classes: one with a trained softmax."""
        given = self.weights
        if given is None or not self.softmax.bias.any():
            problem = "" if given is None else f"model.weights {given}: not of stage one for these classes; "
            raise InputError(
                f"{problem}RCNNClassification starts from the network of stage one: give its checkpoint, which `fit "
                "--model RCNNFineTuning` wrote, with --model.weights FILE"
            )

    def begin_pass(self) -> None:
        """Start with an empty cache."""
        self._cache = ExampleCache(
            self.svms.in_features,
            self.svms.out_features,
            cost=self.svm.cost,
            positive_weight=self.svm.positive_weight,
            bias_feature=self.svm.bias_feature,
            easy_margin=self.svm.easy_margin,
            limit=self.svm.cache_limit,
        )
        self._forget_new()
        self._scale: float | None = None
        self._is_solved = False

    def collect(self, inputs: Inputs, targets: Targets) -> Tensor:
        """Collect hard examples, solve if there are enough, and return the mean hinge loss of the candidates."""
        boxes, signs = self._candidates(given_proposals(inputs), targets, inputs.image_ids)
        hidden, signs = self._features(self.normalize(inputs), boxes, signs)
        scores = self.svm_scores(hidden)
        is_hard = (signs > 0) | ((signs < 0) & (scores > self.svm.hard_margin))
        kept = is_hard.any(dim=1)
        self._new_features.append((hidden[kept] * self._feature_scale(hidden)).cpu())
        self._new_signs.append(torch.where(is_hard, signs, 0)[kept].cpu())
        num_new = sum_over_ranks(torch.tensor(sum(map(len, self._new_signs)), device=self.device))
        if num_new > 0 and (num_new >= self.svm.solve_after or not self._is_solved):
            self.solve()
        losses = (1 - signs * scores).clamp(min=0) * (signs != 0)
        return losses.sum() / (signs != 0).sum().clamp(min=1)

    def solve(self) -> None:
        """Solve on rank 0 for the examples so far, and send the SVMs to all ranks."""
        new = (torch.cat(self._new_features), torch.cat(self._new_signs))
        self._forget_new()
        parts = gather_on_rank_zero(new)
        for features, signs in parts:
            self._cache.add(features.numpy(), signs.numpy())
        if parts:
            svms = self._cache.solve()
            # The scale of the features becomes part of the weights.
            self.svms.weight.copy_(torch.from_numpy(svms.weights) * (self._scale or 1.0))
            self.svms.bias.copy_(torch.from_numpy(svms.biases))
            rank_zero_info(
                f"SVMs solved, within {svms.gap:.1e} of the optimum; {len(self._cache)} examples are still hard."
            )
        overwrite_from_rank_zero(self.svms.weight, self.svms.bias)
        self._is_solved = True

    def _forget_new(self) -> None:
        """Clear the examples of this rank that the cache on rank 0 lacks."""
        self._new_features = [torch.zeros(0, self.svms.in_features)]
        self._new_signs = [torch.zeros(0, self.svms.out_features, dtype=torch.int8)]

    def _candidates(self, proposals: Proposals, targets: Targets, image_ids: Tensor) -> tuple[Tensor, Tensor]:
        """Return boxes float32 [N, C, 4] and signs int8 [N, C, K]: 1 positive, -1 negative, 0 neither (or padding).

        C is the number of regions and ground truths.
        """
        keys = random_keys(self.sampling_seed, image_ids, proposals.boxes.shape[1])
        key, drawn = torch.where(proposals.is_valid, keys, -1.0).topk(min(self.regions_per_image, keys.shape[1]), dim=1)
        boxes = torch.cat((gather_boxes(proposals.boxes, drawn), targets.boxes), dim=1)
        is_present = torch.cat((key >= 0, targets.is_object), dim=1) & (image_ids != NO_IMAGE)[:, None]
        overlaps = class_overlaps(boxes, targets, len(self.class_names))
        crowd_area = (intersection(boxes, targets.boxes) * targets.is_crowd[:, None, :]).amax(dim=2)
        may_be_negative = is_present & ~is_in_crowd(crowd_area, boxes, self.svm.crowd_ioa)
        signs = -((overlaps < self.svm.negative_iou) & may_be_negative[..., None]).to(torch.int8)
        classes = torch.arange(1, len(self.class_names) + 1, device=boxes.device)
        is_its_class = (targets.labels[..., None] == classes) & targets.is_object[..., None]
        of_objects = signs[:, drawn.shape[1] :]
        of_objects[is_its_class & is_present[:, drawn.shape[1] :, None]] = 1
        return boxes, signs

    def _features(self, images: Tensor, boxes: Tensor, signs: Tensor) -> tuple[Tensor, Tensor]:
        """Compute features float32 [B, F] and signs int8 [B, K] of the boxes that are an example of any class."""
        is_example = signs.any(dim=2)
        features, feature_signs = [], []
        for chunk in self.chunks(is_example):
            hidden = self.fc7(self.pool5(self.warp(images, boxes[:, chunk]))).float()
            chosen = is_example[:, chunk].flatten()
            features.append(hidden[chosen])
            feature_signs.append(signs[:, chunk].flatten(0, 1)[chosen])
        return torch.cat(features), torch.cat(feature_signs)

    def _feature_scale(self, hidden: Tensor) -> float:
        """Return the factor that scales features to `feature_norm`, on average over the first batches of all ranks."""
        if self._scale is None:
            norms = hidden.norm(dim=1)
            total, number = sum_over_ranks(torch.stack((norms.sum(), norms.new_tensor(len(norms))))).tolist()
            if not total:
                return 1.0
            self._scale = self.svm.feature_norm * number / total
        return self._scale


def class_overlaps(boxes: Tensor, targets: Targets, num_classes: int) -> Tensor:
    """Compute the largest IoU of each box with the objects of each class, float32 [N, C, K]; 0 without objects.

    Args:
        boxes: xyxy boxes [N, C, 4].
        targets: ground truth; crowds are not objects.
        num_classes: number of classes K.
    """
    iou = pairwise_iou(boxes, targets.boxes) * targets.is_object[:, None, :]
    labels = targets.labels.clamp(min=0)[:, None, :].expand_as(iou)
    overlaps = iou.new_zeros((*iou.shape[:2], num_classes + 1))
    return overlaps.scatter_reduce(2, labels, iou, "amax")[..., 1:]
