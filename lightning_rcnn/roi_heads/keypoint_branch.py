"""The keypoint branch: network, targets, loss and keypoints (Mask R-CNN section 5).

Shape letters: N images, R sampled regions, B regions that the network runs on, D detections, J keypoints, S side of a
heat map.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from lightning_rcnn.backbones.base import Backbone
from lightning_rcnn.errors import InputError
from lightning_rcnn.functional.losses import LossSum, keypoint_loss
from lightning_rcnn.functional.targets import RoIs
from lightning_rcnn.ops.heat_maps import heat_map_cells, heat_map_peaks
from lightning_rcnn.parts import Part
from lightning_rcnn.roi_heads.active import active_indices
from lightning_rcnn.roi_heads.box_predictions import RegionSampler
from lightning_rcnn.roi_heads.keypoint_head import KeypointHead
from lightning_rcnn.roi_heads.pooler import PooledFeatures, RoIPooler, as_rois
from lightning_rcnn.settings import Settings
from lightning_rcnn.settings_checks import PositiveCount
from lightning_rcnn.structures import Detections, Inputs, Targets

LossNumber = Literal["visible", "static"]
ScoreName = Literal["probability", "logit"]


@dataclass(frozen=True)
class KeypointSettings(Settings):
    """Settings of the keypoint branch.

    Args:
        pooled_size: side of a region pooled for its keypoints, a quarter of the heat map's side.
        num_layers: number of convolutions.
        width: channels of the convolutions.
        loss_number: what the sum of the cross-entropies is divided by: "visible", the keypoints that have a target
            (torchvision, detectron2's default), or "static", the most that a batch can have (detectron2's
            `NORMALIZE_LOSS_BY_VISIBLE_KEYPOINTS: False`), with which images of few keypoints weigh less.
        score: score of a keypoint: "probability", its softmax over the heat map (detectron2), or "logit", the height of
            the peak (torchvision).
    """

    pooled_size: PositiveCount = 14
    num_layers: PositiveCount = 8
    width: PositiveCount = 512
    loss_number: LossNumber = "visible"
    score: ScoreName = "probability"

    @property
    def drawn_above(self) -> float:
        """Score above which pictures show a keypoint: 5%, as in detectron2, or a logit of 0."""
        return 0.05 if self.score == "probability" else 0.0

    def build(self, backbone: Backbone, pooler: RoIPooler, box: RegionSampler, num_keypoints: int) -> "KeypointBranch":
        """Build the branch.

        Raises:
            InputError: the backbone has a region stage.
        """
        if pooler.has_stage:
            raise InputError(
                f"model.keypoint: {type(backbone).__name__} has a region stage, and keypoints come from regions of a "
                "feature pyramid; choose a backbone without region stage, such as ResNetFPN"
            )
        return KeypointBranch(self, backbone, box, num_keypoints)


class KeypointBranch(Part):
    """Branch that predicts a heat map for each keypoint of a region: which of its cells the keypoint is in.

    Args:
        settings: settings of the branch.
        backbone: backbone with the channels of a pooled region.
        box: box branch whose sampled regions and detections get keypoints.
        num_keypoints: number of keypoints J.
    """

    class_layers: tuple[str, ...] = ("head.deconvolution",)
    compiled_layers: tuple[str, ...] = ("head",)
    dynamic_layers: ClassVar[tuple[str, ...]] = ("head",)
    loss_names: tuple[str, ...] = ("loss_keypoint",)
    profiled: ClassVar[Mapping[str, str]] = {"head": "keypoints", "_predicted": "keypoints"}

    def __init__(self, settings: KeypointSettings, backbone: Backbone, box: RegionSampler, num_keypoints: int) -> None:
        super().__init__()
        self.settings = settings
        self.pooled_size = settings.pooled_size
        self.max_positives = box.max_positives
        self.num_keypoints = num_keypoints
        self.head = KeypointHead(backbone.out_channels, settings.num_layers, settings.width, num_keypoints)

    def losses(self, pooled: PooledFeatures, rois: RoIs, targets: Targets) -> dict[str, LossSum]:
        """Compute `loss_keypoint` on the positive regions: a softmax over the S * S cells of each keypoint's map.

        Only keypoints that are labeled and inside the region have a target.

        Args:
            pooled: function that pools regions from the feature maps.
            rois: regions that the box branch sampled.
            targets: ground truth.

        Raises:
            InputError: the ground truth has no keypoints.
        """
        if targets.keypoints is None:
            raise InputError(
                "Keypoint R-CNN needs keypoints to train on, and the batch has none: pack a COCO set with keypoints"
            )
        first = slice(self.max_positives)  # positives come first, so these are all of them
        boxes, gt_index = rois.boxes[:, first], rois.gt_index[:, first]
        size = 4 * self.pooled_size
        index = gt_index[..., None, None].expand(-1, -1, *targets.keypoints.shape[2:])
        keypoints = targets.keypoints.gather(1, index)  # [N, R, J, 3]
        cells, has_cell = heat_map_cells(keypoints.flatten(0, 1), boxes.flatten(0, 1), size)
        has_cell = has_cell & rois.is_positive[:, first].flatten()[:, None]
        has_target = has_cell.any(dim=1).view_as(gt_index)  # detectron2 pools only regions with a keypoint inside
        active = active_indices(has_target)
        logits = self.head(pooled(as_rois(boxes, has_target)[active], self.pooled_size))
        loss = keypoint_loss(logits, cells[active], has_cell[active])
        is_visible_number = self.settings.loss_number == "visible"
        number = has_cell.sum() if is_visible_number else loss.new_full((), has_cell.numel())
        return {"loss_keypoint": LossSum(loss, number)}

    def predict(self, pooled: PooledFeatures, detections: Detections, inputs: Inputs) -> Detections:
        """Add keypoints to detections in the resized frame: the peak of each heat map, resized to the box.

        Args:
            pooled: function that pools regions from the feature maps.
            detections: detections with boxes inside the images.
            inputs: images.
        """
        is_detection = detections.labels > 0
        active = active_indices(is_detection)
        maps = self.head(pooled(as_rois(detections.boxes, is_detection)[active], self.pooled_size)).float()
        max_side: int = torch.sym_max(*inputs.images.shape[-2:])  # type: ignore[assignment]  # a symbol in an export
        found = self._predicted(maps, detections.boxes.flatten(0, 1)[active], max_side)
        found = found * is_detection.flatten()[active, None, None]
        keypoints = maps.new_zeros((is_detection.numel(), self.num_keypoints, 3)).index_copy(0, active, found)
        return detections._replace(keypoints=keypoints.unflatten(0, is_detection.shape))

    def _predicted(self, maps: Tensor, boxes: Tensor, max_side: int) -> Tensor:
        """Compute x, y and score [B, J, 3] of keypoints from heat maps [B, J, S, S] of boxes [B, 4]."""
        points, peaks = heat_map_peaks(maps, boxes, max_side)
        if self.settings.score == "probability":
            # Of the map as predicted, so that scores of large and small boxes can be compared.
            peaks = (maps - peaks[..., None, None]).exp().sum(dim=(2, 3)).reciprocal()
        return torch.cat((points, peaks[..., None]), dim=2)
