"""The cascade of box branches: each stage refines the boxes of the one before (Cascade R-CNN section 4).

Shape letters: N images, P proposals, R sampled regions, M ground truths, K classes.
"""

from dataclasses import dataclass, replace
from typing import Any, Literal, NamedTuple, cast

import torch
from torch import Tensor, nn

from lightning_rcnn.backbones.base import Backbone
from lightning_rcnn.errors import InputError
from lightning_rcnn.functional.boxes import clip_boxes, decode
from lightning_rcnn.functional.losses import LossSum
from lightning_rcnn.functional.postprocess import most_classes_above, select_by_score
from lightning_rcnn.functional.targets import RoIs, match_again
from lightning_rcnn.parts import Part
from lightning_rcnn.roi_heads.box_branch import BoxSettings, BoxStage
from lightning_rcnn.roi_heads.pooler import PooledFeatures, RoIPooler, as_rois
from lightning_rcnn.settings_checks import Fraction, NonNegative, Positive
from lightning_rcnn.structures import Detections, Inputs, Proposals, Targets

_SEEDS_BETWEEN_STAGES = 2**20
"""Distance of the seeds of stages that draw for themselves; those of steps are neighbors."""


@dataclass(frozen=True)
class CascadeSettings(BoxSettings):
    """Settings of a cascade of box branches.

    Those of `BoxSettings` are the first stage's; later stages differ in what follows. All stages share one box for all
    classes, so that a refined box does not depend on a class.

    Args:
        stage_ious: IoU with an object from which on a region is positive, of the second and later stages.
        stage_box_weights: factors of the box deltas, of the same stages; they grow as boxes become better.
        loss_weights: weights of the losses of all stages; 1 in the paper and detectron2, (1, 0.5, 0.25) in
            mmdetection.
        averages: what is averaged over the stages: "scores" (the paper, detectron2) or "logits" (mmdetection).
        samples: which stages sample the regions that they train on: the "first" one, for all (detectron2), or "each",
            from the refined boxes of the stage before and the ground truth (mmdetection). Masks train on those of the
            last stage that samples.
        gradients: what each stage sends to the feature maps: its gradient divided by the number of stages, "shared"
            (detectron2), or its "whole" gradient (mmdetection).

    Raises:
        InputError: numbers of stages differ, `class_agnostic` is off, or `passes_on` is not "sampled".
    """

    class_agnostic: bool = True
    stage_ious: tuple[Fraction, ...] = (0.6, 0.7)
    stage_box_weights: tuple[tuple[Positive, Positive, Positive, Positive], ...] = (
        (20.0, 20.0, 10.0, 10.0),
        (30.0, 30.0, 15.0, 15.0),
    )
    loss_weights: tuple[NonNegative, ...] = (1.0, 1.0, 1.0)
    averages: Literal["scores", "logits"] = "scores"
    samples: Literal["first", "each"] = "first"
    gradients: Literal["shared", "whole"] = "shared"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.passes_on != "sampled":
            raise InputError("model.box: passes_on: masks of a cascade train on the sampled regions; leave it out")
        if not self.class_agnostic:
            raise InputError("model.box: class_agnostic: the stages of a cascade share one box; leave it on")
        if not len(self.stage_ious) == len(self.stage_box_weights) == len(self.loss_weights) - 1:
            raise InputError(
                f"model.box: {len(self.stage_ious)} stage_ious, {len(self.stage_box_weights)} stage_box_weights and "
                f"{len(self.loss_weights)} loss_weights; give one for each later stage, and a loss weight for the first"
            )

    def build(self, backbone: Backbone, pooler: RoIPooler, num_classes: int) -> "CascadeBranch":
        """Build the cascade."""
        return CascadeBranch(self, backbone, pooler, num_classes)

    def of_stages(self) -> list[BoxSettings]:
        """Return the settings of each stage."""
        later = zip(self.stage_ious, self.stage_box_weights, strict=True)
        return [
            self,
            *(replace(self, positive_iou=iou, negative_iou=iou, box_weights=weights) for iou, weights in later),
        ]


class StagePass(NamedTuple):
    """What one stage computed.

    Attributes:
        boxes: float32 [N, R, 4], its input boxes.
        class_logits, box_deltas: [N, R, K+1] and [N, R, K, 4].
        refined: float32 [N, R, 4], the input boxes of the next stage.
    """

    boxes: Tensor
    class_logits: Tensor
    box_deltas: Tensor
    refined: Tensor


class CascadeBranch(Part):
    """Branch that classifies regions and refines their boxes in several stages.

    Args:
        settings: settings of the cascade.
        backbone, pooler, num_classes: as in `BoxBranch`.

    Attributes:
        pooled_size, max_positives: as in `BoxBranch`.
        loss_names: `loss_classifier_1`, `loss_box_1` and so on.
    """

    def __init__(self, settings: CascadeSettings, backbone: Backbone, pooler: RoIPooler, num_classes: int) -> None:
        super().__init__()
        self.settings = settings
        pretrained = backbone.take_fully_connected()
        stages = [BoxStage(one, backbone, pooler, num_classes, pretrained) for one in settings.of_stages()]
        self.stages = nn.ModuleList(stages)
        self.pooled_size = stages[0].pooled_size
        self.max_positives = int(settings.samples_per_image * settings.positive_fraction)
        numbers = range(1, len(stages) + 1)
        self.loss_names = tuple(f"{name}_{number}" for number in numbers for name in ("loss_classifier", "loss_box"))

    @property
    def _stages(self) -> list[BoxStage]:
        return cast(list[BoxStage], list(self.stages))

    def losses(
        self, pooled: PooledFeatures, proposals: Proposals, inputs: Inputs, targets: Targets, seed: Tensor
    ) -> tuple[dict[str, LossSum], RoIs]:
        """Compute the losses of all stages (equation 8); arguments and results are those of `BoxBranch.losses`.

        The first stage samples regions; the later ones train on the same regions with refined boxes, matched again, or
        sample themselves. The sampled regions come back without features: stages pool for themselves.
        """
        if self.settings.samples == "each":
            return self._losses_of_samples(pooled, proposals, inputs, targets, seed)
        rois = self._stages[0].sample(proposals, targets, inputs, seed)
        passes = self._passes(pooled, rois.boxes, rois.is_valid, inputs)
        return self._losses_of(rois, passes, inputs, targets, seed), rois

    def predict(self, pooled: PooledFeatures, proposals: Proposals, inputs: Inputs) -> Detections:
        """Compute detections from the proposals, in the resized frame."""
        return self._select(self._passes(pooled, proposals.boxes, proposals.is_valid, inputs), proposals, inputs)

    def evaluate(
        self, pooled: PooledFeatures, proposals: Proposals, inputs: Inputs, targets: Targets, seed: Tensor
    ) -> tuple[Detections, dict[str, LossSum], RoIs]:
        """Detect as `predict` and compute losses as `losses`, in one pass over proposals and ground truth.

        Where each stage samples, they are two passes.
        """
        if self.settings.samples == "each":
            losses, rois = self._losses_of_samples(pooled, proposals, inputs, targets, seed)
            return self.predict(pooled, proposals, inputs), losses, rois
        rois = self._stages[0].sample(proposals, targets, inputs, seed)
        boxes = torch.cat((proposals.boxes, targets.boxes), dim=1)
        is_valid = torch.cat((proposals.is_valid, targets.is_object), dim=1)
        passes = self._passes(pooled, boxes, is_valid, inputs)
        image = torch.arange(len(boxes), device=boxes.device)[:, None]
        sampled = [StagePass(*(value[image, rois.indices] for value in one)) for one in passes]
        of_proposals = [StagePass(*(value[:, : proposals.boxes.shape[1]] for value in one)) for one in passes]
        losses = self._losses_of(rois, sampled, inputs, targets, seed)
        return self._select(of_proposals, proposals, inputs), losses, rois

    def _passes(self, pooled: PooledFeatures, boxes: Tensor, is_valid: Tensor, inputs: Inputs) -> list[StagePass]:
        """Run all stages on boxes [N, R, 4]; no gradient passes through refined boxes (section 4.1)."""
        passes = []
        for stage in self._stages:
            passes.append(self._pass(stage, pooled, boxes, is_valid, inputs))
            boxes = passes[-1].refined
        return passes

    def _pass(
        self, stage: BoxStage, pooled: PooledFeatures, boxes: Tensor, is_valid: Tensor, inputs: Inputs
    ) -> StagePass:
        """Run one stage on boxes [N, R, 4]."""
        features = pooled(as_rois(boxes, is_valid), self.pooled_size)
        if self.settings.gradients == "shared":  # together the stages weigh as much as one branch
            features = _ScaledGradient.apply(features, 1 / len(self.stages))
        class_logits, box_deltas = stage.score(features, is_valid)
        deltas, settings = box_deltas[:, :, 0].detach(), stage.settings
        refined = decode(deltas, boxes, settings.box_weights, settings.min_scale)
        return StagePass(boxes, class_logits, box_deltas, clip_boxes(refined, inputs.image_sizes))

    def _losses_of_samples(
        self, pooled: PooledFeatures, proposals: Proposals, inputs: Inputs, targets: Targets, seed: Tensor
    ) -> tuple[dict[str, LossSum], RoIs]:
        """Compute the losses of stages that sample for themselves, and the regions of the last one."""
        losses: dict[str, LossSum] = {}
        for number, stage in enumerate(self._stages, 1):
            of_stage = seed + (number - 1) * _SEEDS_BETWEEN_STAGES
            rois = stage.sample(proposals, targets, inputs, of_stage)
            one = self._pass(stage, pooled, rois.boxes, rois.is_valid, inputs)
            found = stage.losses_of(rois, one.class_logits, one.box_deltas, inputs, targets, of_stage)
            losses |= self._weighted(found, number)
            is_proposal = rois.indices < proposals.boxes.shape[1]  # the ground truth is added again as it is
            proposals = Proposals(one.refined, torch.zeros_like(one.refined[..., 0]), rois.is_valid & is_proposal)
        return losses, rois

    def _weighted(self, losses: dict[str, LossSum], number: int) -> dict[str, LossSum]:
        """Return the losses of a stage, counted from 1, with its weight and number."""
        weight = self.settings.loss_weights[number - 1]
        return {f"{name}_{number}": LossSum(weight * loss.total, loss.number) for name, loss in losses.items()}

    def _losses_of(
        self, rois: RoIs, passes: list[StagePass], inputs: Inputs, targets: Targets, seed: Tensor
    ) -> dict[str, LossSum]:
        losses: dict[str, LossSum] = {}
        for number, (stage, one) in enumerate(zip(self._stages, passes, strict=True), 1):
            settings = stage.settings
            if number > 1:
                rois = match_again(
                    rois,
                    one.boxes,
                    targets,
                    positive_iou=settings.positive_iou,
                    crowd_ioa=settings.crowd_ioa,
                    box_weights=settings.box_weights,
                )
            found = stage.losses_of(rois, one.class_logits, one.box_deltas, inputs, targets, seed)
            losses |= self._weighted(found, number)
        return losses

    def _select(self, passes: list[StagePass], proposals: Proposals, inputs: Inputs) -> Detections:
        """Select detections: boxes of the last stage, scores averaged over the stages (section 4.3)."""
        settings, last = self._stages[-1].settings, passes[-1]
        if self.settings.averages == "logits":
            scores = self._stages[-1].class_loss.scores(torch.stack([one.class_logits for one in passes]).mean(dim=0))
        else:
            stages = zip(self._stages, passes, strict=True)
            scores = torch.stack([stage.class_loss.scores(one.class_logits) for stage, one in stages]).mean(dim=0)
        return select_by_score(
            proposals._replace(boxes=last.boxes),
            scores,
            last.box_deltas,
            inputs.image_sizes,
            classes_above=most_classes_above(settings.score_threshold, scores.shape[-1]),
            box_weights=settings.box_weights,
            score_threshold=settings.score_threshold,
            nms=settings.nms,
            nms_iou=settings.nms_iou,
            nms_across_classes=settings.nms_across_classes,
            max_detections=settings.detections_per_image,
            min_size=settings.min_size,
            min_scale=settings.min_scale,
        )


class _ScaledGradient(torch.autograd.Function):
    """The identity, whose gradient is scaled."""

    @staticmethod
    def forward(ctx: Any, value: Tensor, factor: float) -> Tensor:
        ctx.factor = factor
        return value.view_as(value)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return gradients[0] * ctx.factor, None
