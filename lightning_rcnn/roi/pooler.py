"""How a detector pools its regions: the operator, the levels and the numbers, decided once.

Shape letters: N images, R regions of an image, B regions of the whole batch, C channels, S side of a pooled region.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Literal, get_args

import torch
from torch import Tensor

from lightning_rcnn.errors import InputError
from lightning_rcnn.roi.align import multiscale_roi_align
from lightning_rcnn.roi.pool import multiscale_roi_pool
from lightning_rcnn.roi.pyramid import assign_levels

PoolName = Literal["align", "pool"]
LevelRule = Literal["torchvision", "detectron2"]


class RegionPooler:
    """RoIAlign or RoIPool over the levels that regions are pooled from.

    Args:
        operator: "align" or "pool".
        strides: of these levels, finest first.
        sampling_ratio, aligned: of RoIAlign, as in `multiscale_roi_align`.
        canonical: (level, size), likewise.
        level_rule: see `assign_levels`.

    Raises:
        InputError: no such operator.
    """

    def __init__(
        self,
        operator: PoolName,
        strides: Sequence[int],
        sampling_ratio: int,
        aligned: bool,
        canonical: tuple[int, float],
        level_rule: LevelRule,
    ) -> None:
        if operator not in get_args(PoolName):
            raise InputError(f"model.roi_pool {operator!r} is none of {', '.join(get_args(PoolName))}")
        scales = [1 / stride for stride in strides]
        self.num_levels = len(scales)
        self._pool: Callable[..., Tensor] = partial(multiscale_roi_pool, scales=scales, canonical=canonical)
        if operator == "align":
            align = partial(multiscale_roi_align, sampling_ratio=sampling_ratio, aligned=aligned)
            self._pool = partial(align, scales=scales, canonical=canonical)
        # The operators choose levels themselves, by torchvision's rule.
        self._assign_levels = None
        if level_rule != "torchvision" and self.num_levels > 1:
            self._assign_levels = partial(assign_levels, scales=scales, canonical=canonical, rule=level_rule)

    def __call__(self, features: Sequence[Tensor], rois: Tensor, size: int) -> Tensor:
        """Regions [B, C, size, size].

        Args:
            features: [N, C, H, W] of each level, and perhaps of coarser ones, which are left alone.
            rois: float32 [B, 5], as `as_rois` makes them.
            size: S.
        """
        levels = self._assign_levels(rois[:, 1:]) if self._assign_levels else None
        return self._pool(features[: self.num_levels], rois, output_size=size, levels=levels)


def as_rois(boxes: Tensor, is_valid: Tensor) -> Tensor:
    """Boxes [N, R, 4] as [N * R, 5] with the index of their image before them; -1, nothing to pool, if not valid."""
    image_index = torch.arange(is_valid.shape[0], device=boxes.device)[:, None]
    image_index = torch.where(is_valid, image_index, -1).to(boxes.dtype)
    return torch.cat((image_index[..., None], boxes), dim=2).flatten(0, 1)
