"""A box branch of your own: two in a row, of which the second one refines the boxes of the first (Cascade R-CNN).

Name its settings by their class path:

lightning-rcnn fit --config configs/faster_rcnn/r18_fpn_shapes.yaml --data.train TRAIN --data.val VAL
    --model.box examples.custom_box_branch.CascadeSettings --model.box.second_iou 0.6
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor

from lightning_rcnn import Backbone, Detections, Part, Proposals, Targets
from lightning_rcnn.functional.boxes import clip_boxes, decode, has_min_size
from lightning_rcnn.functional.losses import LossSum
from lightning_rcnn.functional.targets import RoIs
from lightning_rcnn.roi_heads.box_branch import BOX_WEIGHTS, BoxBranch, BoxSettings
from lightning_rcnn.roi_heads.pooler import PooledFeatures, RoIPooler, as_rois
from lightning_rcnn.structures import Inputs


@dataclass(frozen=True)
class CascadeSettings(BoxSettings):
    """Settings of both box branches.

    Args:
        second_iou: overlap from which a region is positive for the second branch; `positive_iou` is the first one's.
    """

    second_iou: float = 0.6

    def build(self, backbone: Backbone, pooler: RoIPooler, num_classes: int) -> "Cascade":  # type: ignore[override]
        """Build both branches."""
        return Cascade(self, backbone, pooler, num_classes)


class Cascade(Part):
    """Two box branches: the first classifies proposals and moves them, the second does the same with the result."""

    loss_names: tuple[str, ...] = ("loss_classifier_second", "loss_box_second")
    profiled: ClassVar[Mapping[str, str]] = {"refine": "refinement"}

    def __init__(self, settings: CascadeSettings, backbone: Backbone, pooler: RoIPooler, num_classes: int) -> None:
        super().__init__()
        stricter = replace(settings, positive_iou=settings.second_iou, negative_iou=settings.second_iou)
        self.first = BoxBranch(settings, backbone, pooler, num_classes)
        self.second = BoxBranch(stricter, backbone, pooler, num_classes)
        self.pooled_size, self.max_positives = self.second.pooled_size, self.second.max_positives  # a mask branch asks

    def losses(
        self, pooled: PooledFeatures, proposals: Proposals, inputs: Inputs, targets: Targets, seed: Tensor
    ) -> tuple[dict[str, LossSum], RoIs]:
        """Compute the losses of both branches, and the regions that the second one learns from."""
        first, _ = self.first.losses(pooled, proposals, inputs, targets, seed)
        second, rois = self.second.losses(pooled, self.refine(pooled, proposals, inputs), inputs, targets, ~seed)
        return first | {f"{name}_second": loss for name, loss in second.items()}, rois

    def predict(self, pooled: PooledFeatures, proposals: Proposals, inputs: Inputs) -> Detections:
        """Detect: classes and boxes of the second branch."""
        return self.second.predict(pooled, self.refine(pooled, proposals, inputs), inputs)

    @torch.no_grad()
    def refine(self, pooled: PooledFeatures, proposals: Proposals, inputs: Inputs) -> Proposals:
        """Move each proposal as the first branch says for its best class; no gradient passes through the boxes."""
        features = pooled(as_rois(proposals.boxes, proposals.is_valid), self.pooled_size)
        class_logits, box_deltas = self.first.predictor(self.first.head(features))
        best = class_logits[:, 1:].argmax(1)[:, None, None].expand(-1, 1, 4)
        deltas = box_deltas.gather(1, best).squeeze(1).unflatten(0, proposals.is_valid.shape)
        boxes = clip_boxes(decode(deltas, proposals.boxes, BOX_WEIGHTS), inputs.image_sizes)
        return proposals._replace(boxes=boxes, is_valid=proposals.is_valid & has_min_size(boxes, 1.0))
