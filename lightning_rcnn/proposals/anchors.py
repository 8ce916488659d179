"""Anchors: the boxes that the region proposal network scores and moves (Faster R-CNN section 3.1.1).

References differ in three ways, each selectable: whether a cell's corners are whole pixels, in which order sizes and
ratios run, and whether the stride is the network's or the padded image divided by the feature map.
"""

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

AnchorRounding = Literal["exact", "rounded"]
AnchorOrder = Literal["ratio_major", "size_major"]
AnchorStride = Literal["fixed", "image_ratio"]


def cell_anchors(
    sizes: Sequence[float], ratios: Sequence[float], rounding: AnchorRounding, order: AnchorOrder
) -> Tensor:
    """Anchors [A, 4] around the origin.

    Args:
        sizes: square roots of the areas, pixels.
        ratios: height / width.
        rounding: "rounded" as torchvision (whole half-extents, halves to even), "exact" as detectron2.
        order: "ratio_major" as torchvision, "size_major" as detectron2.
    """
    root = torch.tensor(ratios, dtype=torch.float32).sqrt()
    size = torch.tensor(sizes, dtype=torch.float32)
    if order == "ratio_major":
        widths, heights = ((1 / root)[:, None] * size).flatten(), (root[:, None] * size).flatten()
    else:
        widths, heights = (size[:, None] / root).flatten(), (size[:, None] * root).flatten()
    half = torch.stack((-widths, -heights, widths, heights), dim=1) / 2
    return half.round() if rounding == "rounded" else half


class AnchorGenerator(nn.Module):
    """Anchors for the feature maps of a batch, in the resized frame.

    Args:
        sizes: per level, pixels.
        ratios: height / width, the same on all levels.
        strides: of the levels, pixels.
        rounding, order: see `cell_anchors`.
        stride: "fixed" takes `strides` (detectron2); "image_ratio" the padded image's size // the feature map's
            (torchvision: 800 // 13 = 61 where the network's stride is 64).
    """

    def __init__(
        self,
        sizes: Sequence[Sequence[float]],
        ratios: Sequence[float],
        strides: Sequence[int],
        rounding: AnchorRounding = "exact",
        order: AnchorOrder = "ratio_major",
        stride: AnchorStride = "fixed",
    ) -> None:
        super().__init__()
        self.strides, self.stride = tuple(strides), stride
        self.num_levels = len(sizes)
        self.num_per_position = len(sizes[0]) * len(ratios)
        for level, level_sizes in enumerate(sizes):
            self.register_buffer(f"cell_{level}", cell_anchors(level_sizes, ratios, rounding, order), persistent=False)

    def forward(self, feature_sizes: Sequence[tuple[int, int]], image_size: tuple[int, int]) -> list[Tensor]:
        """One tensor [H * W * A, 4] per level, positions in row-major order.

        Args:
            feature_sizes: (height, width) of each level's map.
            image_size: (height, width) of the padded images.
        """
        return [self._level(level, *size, image_size) for level, size in enumerate(feature_sizes)]

    def _level(self, level: int, height: int, width: int, image_size: tuple[int, int]) -> Tensor:
        cell: Tensor = getattr(self, f"cell_{level}")
        if self.stride == "image_ratio":
            stride_y, stride_x = image_size[0] // height, image_size[1] // width
        else:
            stride_y = stride_x = self.strides[level]
        y = torch.arange(height, device=cell.device, dtype=torch.float32) * stride_y
        x = torch.arange(width, device=cell.device, dtype=torch.float32) * stride_x
        grid_y, grid_x = torch.meshgrid(y, x, indexing="ij")
        shift = torch.stack((grid_x, grid_y, grid_x, grid_y), dim=-1)
        return (shift[:, :, None, :] + cell).reshape(-1, 4)
