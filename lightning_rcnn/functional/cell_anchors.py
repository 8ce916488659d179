"""Anchors of one position (Faster R-CNN section 3.1.1).

Shape letters: A anchors of a position, the number of sizes times the number of ratios.
"""

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

AnchorRounding = Literal["exact", "rounded"]
AnchorOrder = Literal["ratio_major", "size_major"]


def cell_anchors(
    sizes: Sequence[float], ratios: Sequence[float], rounding: AnchorRounding, order: AnchorOrder
) -> Tensor:
    """Compute anchors around the origin.

    Args:
        sizes: square roots of the anchor areas, pixels.
        ratios: aspect ratios, height / width.
        rounding: "rounded" as in torchvision (whole half-extents, halves to even), "exact" as in detectron2.
        order: "ratio_major" as in torchvision, "size_major" as in detectron2.

    Returns:
        Float32 [A, 4], xyxy in pixels.
    """
    root = torch.tensor(ratios, dtype=torch.float32).sqrt()
    size = torch.tensor(sizes, dtype=torch.float32)
    if order == "ratio_major":
        widths, heights = ((1 / root)[:, None] * size).flatten(), (root[:, None] * size).flatten()
    else:
        widths, heights = (size[:, None] / root).flatten(), (size[:, None] * root).flatten()
    half = torch.stack((-widths, -heights, widths, heights), dim=1) / 2
    return half.round() if rounding == "rounded" else half
