"""The mask branch of PointRend: a coarse mask, refined at the points where it is uncertain.

Shape letters: N images, R regions of an image, B = N * R, D detections, P points of a region, K classes, S side of a
mask.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from lightning_rcnn.backbones.base import Backbone
from lightning_rcnn.errors import InputError
from lightning_rcnn.functional.losses import LossSum, mask_loss
from lightning_rcnn.functional.sampling import random_keys
from lightning_rcnn.functional.targets import RoIs
from lightning_rcnn.ops.mask_targets import align_bitmaps, has_mask
from lightning_rcnn.ops.points import in_image, sample_bitmaps, sample_grids, sample_map
from lightning_rcnn.parts import Part
from lightning_rcnn.roi_heads.active import active_length
from lightning_rcnn.roi_heads.box_predictions import RegionSampler
from lightning_rcnn.roi_heads.mask_branch import MaskBranchSettings, of_class, required_masks
from lightning_rcnn.roi_heads.point_rend_head import CoarseMaskHead, PointHead
from lightning_rcnn.roi_heads.pooler import PooledFeatures, RoIPooler
from lightning_rcnn.settings_checks import Count, Fraction, PositiveCount
from lightning_rcnn.structures import Bitmaps, Detections, Inputs, MaskForm, Targets


@dataclass(frozen=True)
class PointRendSettings(MaskBranchSettings):
    """Settings of the mask branch of PointRend.

    Args:
        pooled_size: side of the grid of features for the coarse mask; an even number.
        coarse_side: side of the coarse mask.
        coarse_width, coarse_hidden, coarse_layers: channels of the first layer of the coarse head, outputs and number
            of its fully connected layers.
        width, num_layers: outputs and number of the layers of the point head.
        num_points: points of a region in training.
        oversample: random points that are drawn for each of `num_points`, from which uncertain ones are chosen.
        importance: fraction of `num_points` that are chosen for their uncertainty; the others are random.
        subdivisions: doublings of the coarse mask in inference.
        subdivision_points: points that are refined after each doubling.
        paste: as in `MaskBranchSettings`.

    Raises:
        InputError: `pooled_size` is odd, or there are fewer points drawn than chosen.
    """

    pooled_size: PositiveCount = 14
    coarse_side: PositiveCount = 7
    coarse_width: PositiveCount = 256
    coarse_hidden: PositiveCount = 1024
    coarse_layers: Count = 2
    width: PositiveCount = 256
    num_layers: PositiveCount = 3
    num_points: PositiveCount = 196
    oversample: PositiveCount = 3
    importance: Fraction = 0.75
    subdivisions: Count = 5
    subdivision_points: PositiveCount = 784

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.pooled_size % 2:
            raise InputError(f"model.mask: pooled_size {self.pooled_size}: is halved; give an even number")

    @property
    def form(self) -> MaskForm:
        """Form of the ground-truth masks that points are sampled from."""
        return "bitmaps"

    def build(self, backbone: Backbone, pooler: RoIPooler, box: RegionSampler, num_classes: int) -> "PointRendBranch":
        """Build the branch.

        Raises:
            InputError: the backbone has a region stage ("C4").
        """
        if pooler.has_stage:
            raise InputError("model.mask: PointRend samples the maps themselves; give a backbone without region stage")
        return PointRendBranch(self, backbone, box, num_classes)


class PointRendBranch(Part):
    """Branch that predicts a coarse mask and refines it where it is uncertain (section 4.1).

    Args:
        settings: settings of the branch.
        backbone: backbone whose finest map points are sampled from.
        box: box branch whose sampled regions and detections get masks.
        num_classes: number of classes K, without background.
    """

    class_layers: tuple[str, ...] = ("coarse.logits", "point_head")
    compiled_layers: tuple[str, ...] = ("coarse", "point_head")
    dynamic_layers: ClassVar[tuple[str, ...]] = ("coarse", "point_head")
    loss_names: tuple[str, ...] = ("loss_mask", "loss_mask_point")
    profiled: ClassVar[Mapping[str, str]] = {"coarse": "masks", "point_head": "masks"}

    def __init__(self, settings: PointRendSettings, backbone: Backbone, box: RegionSampler, num_classes: int) -> None:
        super().__init__()
        self.settings = settings
        self.stride = backbone.roi_strides[0]
        self.max_positives = box.max_positives
        self.coarse = CoarseMaskHead(
            backbone.out_channels,
            settings.pooled_size,
            num_classes,
            settings.coarse_width,
            settings.coarse_hidden,
            settings.coarse_layers,
            settings.coarse_side,
        )
        self.point_head = PointHead(backbone.out_channels, num_classes, settings.width, settings.num_layers)

    def losses(
        self, pooled: PooledFeatures, rois: RoIs, inputs: Inputs, targets: Targets, seed: Tensor
    ) -> dict[str, LossSum]:
        """Compute `loss_mask` of the coarse masks and `loss_mask_point` of points, both of each region's own class.

        Arguments and errors are those of `MaskBranch.losses`; `seed` draws the points.
        """
        masks = required_masks(targets)
        assert isinstance(masks, Bitmaps)
        has_target = rois.is_positive & has_mask(masks).gather(1, rois.gt_index)
        first = slice(active_length(has_target[:, : self.max_positives]))  # positives come first
        boxes, labels, gt_index = rois.boxes[:, first], rois.labels[:, first], rois.gt_index[:, first]
        has_target = has_target[:, first]
        finest = pooled.features[0]
        coarse = self._coarse(finest, boxes)
        own = of_class(coarse, labels.flatten())
        side = self.settings.coarse_side
        wanted = align_bitmaps(masks, boxes, gt_index, has_target, aligned=True, size=side).flatten(0, 1) >= 0.5
        number = has_target.sum()
        loss = mask_loss(own, wanted.float(), has_target.flatten())

        points = self._training_points(own.detach(), inputs.image_ids, has_target.shape[1], seed)
        logits = of_class(self._refine(finest, coarse, boxes, points)[..., None], labels.flatten()).squeeze(-1)
        is_set = sample_bitmaps(masks, in_image(points, boxes), gt_index).flatten(0, 1)
        point_loss = F.binary_cross_entropy_with_logits(logits, is_set, reduction="none").mean(dim=1)
        total = torch.where(has_target.flatten(), point_loss, 0.0).sum()
        return {"loss_mask": LossSum(loss, number), "loss_mask_point": LossSum(total, number)}

    def predict(self, pooled: PooledFeatures, detections: Detections) -> Detections:
        """Add masks to detections in the resized frame: coarse ones, doubled and refined several times (figure 4)."""
        finest, settings = pooled.features[0], self.settings
        num_detections = detections.labels.shape[1]
        first = slice(active_length(detections.labels > 0))
        boxes, labels = detections.boxes[:, first], detections.labels[:, first]
        coarse = self._coarse(finest, boxes)
        logits = of_class(coarse, labels.flatten())[:, None]  # [B, 1, S, S]
        for step in range(1, settings.subdivisions + 1):
            logits = F.interpolate(logits, scale_factor=2.0, mode="bilinear", align_corners=False)
            height, width = logits.shape[-2:]
            is_last = step == settings.subdivisions
            if settings.subdivision_points >= 4 * height * width and not is_last:
                continue  # the next doubling refines all of its points
            num_points = min(height * width, settings.subdivision_points)
            index = _uncertainty(logits).flatten(1).topk(num_points, dim=1).indices  # [B, P]
            points = torch.stack(((index % width + 0.5) / width, (index // width + 0.5) / height), dim=-1)
            points = points.unflatten(0, labels.shape)
            refined = of_class(self._refine(finest, coarse, boxes, points)[..., None], labels.flatten())
            logits = logits.flatten(2).scatter(2, index[:, None], refined.flatten(1)[:, None]).view_as(logits)
        masks = logits.squeeze(1).sigmoid().unflatten(0, labels.shape) * (labels > 0)[..., None, None]
        return detections._replace(masks=F.pad(masks, (0, 0, 0, 0, 0, num_detections - labels.shape[1])))

    def _coarse(self, finest: Tensor, boxes: Tensor) -> Tensor:
        """Compute coarse logits [B, K, S, S] of boxes [N, R, 4] from a regular grid of points."""
        size = self.settings.pooled_size
        step = (torch.arange(size, device=boxes.device) + 0.5) / size
        y, x = torch.meshgrid(step, step, indexing="ij")
        grid = torch.stack((x, y), dim=-1).flatten(0, 1).expand(*boxes.shape[:2], -1, -1)
        return self.coarse(self._features(finest, boxes, grid).unflatten(2, (size, size))).float()

    def _refine(self, finest: Tensor, coarse: Tensor, boxes: Tensor, points: Tensor) -> Tensor:
        """Compute logits [B, K, P] of points [N, R, P, 2], from 0 to 1 in boxes [N, R, 4]."""
        return self.point_head(
            self._features(finest, boxes, points), sample_grids(coarse, points.flatten(0, 1)).to(finest.dtype)
        ).float()

    def _features(self, finest: Tensor, boxes: Tensor, points: Tensor) -> Tensor:
        """Sample the finest map at points [N, R, P, 2], from 0 to 1 in boxes [N, R, 4]: [B, C, P]."""
        return sample_map(finest, in_image(points, boxes), self.stride).transpose(1, 2).flatten(0, 1)

    def _training_points(self, own: Tensor, image_ids: Tensor, num_regions: int, seed: Tensor) -> Tensor:
        """Choose points [N, R, P, 2] of regions with coarse logits `own` [B, S, S], mostly uncertain (section 3.2).

        Random points of a region depend on the seed, the image and the position of the region only.
        """
        settings = self.settings
        num_drawn = settings.oversample * settings.num_points
        num_uncertain = int(settings.importance * settings.num_points)
        each = 2 * (num_drawn + settings.num_points - num_uncertain)
        # The seed itself and the next one draw anchors and regions.
        drawn = random_keys(seed + 2**31, image_ids, num_regions * each).view(-1, each // 2, 2)
        candidates, others = drawn.split((num_drawn, settings.num_points - num_uncertain), dim=1)
        uncertainty = _uncertainty(sample_grids(own[:, None], candidates)).squeeze(1)
        chosen = uncertainty.topk(num_uncertain, dim=1).indices[..., None].expand(-1, -1, 2)
        return torch.cat((candidates.gather(1, chosen), others), dim=1).unflatten(0, (len(image_ids), num_regions))


def _uncertainty(logits: Tensor) -> Tensor:
    """Return how uncertain logits of a class are: the closer to zero, the more."""
    return -logits.abs()
