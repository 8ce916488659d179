"""How a detector pools its regions: the operator, the levels and the numbers, decided once.

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
from lightning_rcnn.ops.level_assignment import assign_levels
from lightning_rcnn.ops.roi_align import multiscale_roi_align
from lightning_rcnn.ops.roi_pool import multiscale_roi_pool
from lightning_rcnn.parts import Part, Settings
from lightning_rcnn.settings_checks import Count, Positive

PoolName = Literal["align", "pool"]
LevelRule = Literal["torchvision", "detectron2"]

PooledFeatures = Callable[[Tensor, int], Tensor]
"""All that a branch sees of the features: rois [B, 5] and a side S -> [B, C, S, S]; `RoIPooler` with its maps."""


@dataclass(frozen=True)
class PoolerSettings(Settings):
    """Settings of the pooling of regions.

    Args:
        operator: "align" (RoIAlign, Mask R-CNN section 3) or "pool" (RoIPool, Fast R-CNN section 2.1, which rounds to
            whole pixels).
        sampling_ratio: of RoIAlign, samples a bin and axis; 0 adapts to the region's size (detectron2).
        aligned: RoIAlign shifts by half a pixel (detectron2) or not (torchvision).
        canonical: (level, size): a region of this size, pixels, is pooled from this level (FPN equation 1).
        level_rule: where the small constant of that equation stands, "torchvision" or "detectron2".
    """

    conventions = ("sampling_ratio", "aligned")

    operator: PoolName = "align"
    sampling_ratio: Count = 2
    aligned: bool = False
    canonical: tuple[int, Positive] = (4, 224.0)
    level_rule: LevelRule = "torchvision"

    def build(self, backbone: Backbone) -> "RoIPooler":
        """Build the pooler for a backbone's maps; it takes over the stage that works on regions, if there is one.

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
    """RoIAlign or RoIPool over the levels that regions are pooled from, and the region stage of a "C4" backbone.

    Args:
        settings: see there.
        backbone: gives the levels, and its region stage.
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
        # The operators choose levels themselves, by torchvision's rule.
        self._assign_levels = None
        if settings.level_rule != "torchvision" and self.num_levels > 1:
            rule = settings.level_rule
            self._assign_levels = partial(assign_levels, scales=scales, canonical=settings.canonical, rule=rule)

    def forward(self, features: Sequence[Tensor], rois: Tensor, size: int) -> Tensor:
        """Pool regions, and run the region stage on them if there is one.

        Args:
            features: [N, C, H, W] of each level, and perhaps of coarser ones, which are left alone.
            rois: float32 [B, 5], as `as_rois` makes them.
            size: S.

        Returns:
            [B, C, S, S]; of other C and S where a region stage works on them.
        """
        return self.stage(self.pool(features, rois, size))

    def pool(self, features: Sequence[Tensor], rois: Tensor, size: int) -> Tensor:
        """Pool regions [B, C, S, S]."""
        levels = self._assign_levels(rois[:, 1:]) if self._assign_levels else None
        return self._operator(features[: self.num_levels], rois, output_size=size, levels=levels)


def as_rois(boxes: Tensor, is_valid: Tensor) -> Tensor:
    """Boxes [N, R, 4] as [N * R, 5] with the index of their image before them; -1, nothing to pool, if not valid."""
    image_index = torch.arange(is_valid.shape[0], device=boxes.device)[:, None]
    image_index = torch.where(is_valid, image_index, -1).to(boxes.dtype)
    return torch.cat((image_index[..., None], boxes), dim=2).flatten(0, 1)
