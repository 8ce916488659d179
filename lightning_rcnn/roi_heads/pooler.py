"""RoI pooling of a detector: the operator, the levels and their conventions.

Shape letters: N images, R regions of an image, B regions of the whole batch, C channels, S side of a pooled region.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from lightning_rcnn.backbones.base import Backbone
from lightning_rcnn.errors import InputError
from lightning_rcnn.ops.level_assignment import LevelRule, assign_levels
from lightning_rcnn.ops.roi_align import multiscale_roi_align
from lightning_rcnn.ops.roi_pool import multiscale_roi_pool
from lightning_rcnn.parts import Part
from lightning_rcnn.settings import Settings
from lightning_rcnn.settings_checks import Count, Positive

PoolName = Literal["align", "pool"]


@dataclass(frozen=True)
class PoolerSettings(Settings):
    """Settings of RoI pooling.

    Args:
        operator: "align" (RoIAlign, Mask R-CNN section 3) or "pool" (RoIPool, Fast R-CNN section 2.1, which rounds to
            whole pixels).
        sampling_ratio: RoIAlign samples per bin and axis; 0 adapts to the size of the region (detectron2).
        aligned: whether RoIAlign shifts by half a pixel (detectron2) or not (torchvision).
        canonical: (level, size): a region of this size, pixels, is pooled from this level (FPN equation 1).
        level_rule: position of the epsilon in that equation, "torchvision", "detectron2" or "mmdetection".
    """

    conventions = ("sampling_ratio", "aligned")

    operator: PoolName = "align"
    sampling_ratio: Count = 2
    aligned: bool = False
    canonical: tuple[int, Positive] = (4, 224.0)
    level_rule: LevelRule = "torchvision"

    def build(self, backbone: Backbone) -> "RoIPooler":
        """Build the pooler for the feature maps of a backbone, and take over its region stage if it has one.

        Raises:
            InputError: the strides of the maps do not double.
        """
        strides = list(backbone.roi_strides)
        if any(2 * fine != coarse for fine, coarse in pairwise(strides)):
            raise InputError(
                f"model.pooler: {type(backbone).__name__} has maps of strides {strides}, and the level of a region is "
                "known only where each is twice the one before; choose others by its `roi_strides`"
            )
        return RoIPooler(self, backbone)


class RoIPooler(Part):
    """RoIAlign or RoIPool over several levels, followed by the region stage of a "C4" backbone.

    Args:
        settings: settings of RoI pooling.
        backbone: backbone with the levels and the region stage.
    """

    profiled: ClassVar[Mapping[str, str]] = {"pool": "RoI pooling", "stage": "box head"}

    def __init__(self, settings: PoolerSettings, backbone: Backbone) -> None:
        super().__init__()
        self.settings = settings
        stage = backbone.take_region_stage()
        self.has_stage = stage is not None
        self.stage = stage or nn.Identity()
        self.compiled_layers = ("stage",) if self.has_stage else ()
        scales = [1 / stride for stride in backbone.roi_strides]
        self.num_levels = len(scales)
        self._operator: Callable[..., Tensor] = partial(
            multiscale_roi_pool, scales=scales, canonical=settings.canonical
        )
        if settings.operator == "align":
            align = partial(multiscale_roi_align, sampling_ratio=settings.sampling_ratio, aligned=settings.aligned)
            self._operator = partial(align, scales=scales, canonical=settings.canonical)
        # The operators assign levels by torchvision's rule themselves.
        self._assign_levels = None
        if settings.level_rule != "torchvision" and self.num_levels > 1:
            rule = settings.level_rule
            self._assign_levels = partial(assign_levels, scales=scales, canonical=settings.canonical, rule=rule)

    def forward(self, features: Sequence[Tensor], rois: Tensor, size: int) -> Tensor:
        """Pool regions, and run the region stage on them if there is one.

        Args:
            features: feature maps [N, C, H, W] per level; additional coarser ones are ignored.
            rois: regions float32 [B, 5] in the form of `as_rois`.
            size: side S.

        Returns:
            [B, C, S, S]; a region stage changes C and S.
        """
        return self.stage(self.pool(features, rois, size))

    def pool(self, features: Sequence[Tensor], rois: Tensor, size: int) -> Tensor:
        """Pool regions [B, C, S, S]."""
        levels = self._assign_levels(rois[:, 1:]) if self._assign_levels else None
        return self._operator(features[: self.num_levels], rois, output_size=size, levels=levels)


class PooledFeatures:
    """A pooler with the feature maps of a batch.

    Args:
        pooler: the pooler.
        features: feature maps [N, C, H, W] per level.
    """

    def __init__(self, pooler: RoIPooler, features: Sequence[Tensor]) -> None:
        self.pooler, self.features = pooler, features

    def __call__(self, rois: Tensor, size: int) -> Tensor:
        """Pool regions [B, 5] to side S: [B, C, S, S]; see `RoIPooler`."""
        return self.pooler(self.features, rois, size)


def as_rois(boxes: Tensor, is_valid: Tensor) -> Tensor:
    """Convert boxes [N, R, 4] to rois [N * R, 5] with the image index first; -1 (not pooled) for invalid ones."""
    image_index = torch.arange(is_valid.shape[0], device=boxes.device)[:, None]
    image_index = torch.where(is_valid, image_index, -1).to(boxes.dtype)
    return torch.cat((image_index[..., None], boxes), dim=2).flatten(0, 1)
