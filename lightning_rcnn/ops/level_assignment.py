"""Assignment of regions to the levels of a feature pyramid.

A region of canonical size belongs to the canonical level, a region of half that size to the level below (Feature
Pyramid Networks, arXiv:1612.03144, equation 1): k = floor(k0 + log2(sqrt(area) / size0)), clamped to existing levels.

Shape letters: R regions.
"""

import itertools
import math
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

LevelRule = Literal["torchvision", "detectron2", "mmdetection"]


def assign_levels(
    boxes: Tensor,
    scales: Sequence[float],
    canonical: tuple[int, float] = (4, 224.0),
    rule: LevelRule = "torchvision",
) -> Tensor:
    """Compute the index of the pyramid level of each box.

    Args:
        boxes: [R, 4], xyxy in pixels of the network's input.
        scales: size of each level's map over the size of the input, finest first, each half of the one before.
        canonical: (k0, size0): a box of size0 x size0 pixels belongs to the level of scale 2^-k0.
        rule: position of the small constant against rounding: torchvision adds 1e-6 to the logarithm, detectron2 adds
            1e-8 to its argument, mmdetection 1e-6 to the size relative to a box of the finest level. They differ only
            for sizes within about 1e-6 of a boundary.

    Returns:
        int64 [R], 0 for the finest level. Boxes without area, inverted boxes and NaN belong to the finest.
    """
    finest, coarsest = level_range(scales)
    level, size = canonical
    width, height = boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1]
    relative_size = torch.sqrt(width * height) / size
    if rule == "torchvision":
        target = torch.floor(level + torch.log2(relative_size) + 1e-6)
    elif rule == "detectron2":
        target = torch.floor(level + torch.log2(relative_size + 1e-8))
    else:
        target = torch.floor(finest + torch.log2(relative_size * 2 ** (level - finest) + 1e-6))
    has_area = (width > 0) & (height > 0)
    target = torch.where(has_area, target, finest).clamp(min=finest, max=coarsest)
    return target.to(torch.int64) - finest


def level_range(scales: Sequence[float]) -> tuple[int, int]:
    """Compute the pyramid levels k of the finest and the coarsest scale 2^-k.

    Raises:
        ValueError: the scales do not halve from level to level, so that equation 1 does not apply.
    """
    if any(not math.isclose(coarse * 2, fine) for fine, coarse in itertools.pairwise(scales)):
        raise ValueError(f"scales {list(scales)} do not halve from level to level; pass `levels` for each region")
    finest = round(-math.log2(scales[0]))
    return finest, finest + len(scales) - 1
