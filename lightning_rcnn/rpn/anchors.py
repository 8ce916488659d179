"""Anchors: the reference boxes that the region proposal network scores and refines (Faster R-CNN section 3.1.1).

References differ in three conventions, each selectable: whether the corners of cell anchors are rounded, the order of
sizes and ratios, and whether the stride is the network's or the size of the padded image divided by that of the map.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from lightning_rcnn.errors import InputError
from lightning_rcnn.functional.cell_anchors import AnchorOrder, AnchorRounding, cell_anchors
from lightning_rcnn.settings import Settings
from lightning_rcnn.settings_checks import Positive

AnchorStride = Literal["fixed", "image_ratio"]


@dataclass(frozen=True)
class AnchorSettings(Settings):
    """Settings of the anchors.

    Args:
        sizes: square roots of the areas, pixels; one per level with several feature maps, else all on the single map.
        levels: "one_size" for that, or "all_sizes" on every map (torchvision's MobileNets).
        ratios: aspect ratios, height / width.
        rounding: "exact" (detectron2) or "rounded" (torchvision).
        order: "ratio_major" (torchvision) or "size_major" (detectron2).
        stride: "fixed" (detectron2) or "image_ratio" (torchvision).

    Raises:
        InputError: sizes or ratios are empty.
    """

    conventions = ("rounding", "order", "stride")

    sizes: tuple[Positive, ...] = (32, 64, 128, 256, 512)
    ratios: tuple[Positive, ...] = (0.5, 1.0, 2.0)
    rounding: AnchorRounding = "exact"
    order: AnchorOrder = "ratio_major"
    stride: AnchorStride = "fixed"
    levels: Literal["one_size", "all_sizes"] = "one_size"

    def __post_init__(self) -> None:
        super().__post_init__()
        for key in ("sizes", "ratios"):
            if not getattr(self, key):
                raise InputError(f"AnchorSettings.{key}: the list is empty; give at least one")

    def build(self, strides: Sequence[int]) -> "AnchorGenerator":
        """Build the generator for feature maps of these strides.

        Raises:
            InputError: the number of sizes differs from that of the maps.
        """
        level_sizes = [[size] for size in self.sizes]
        if self.levels == "all_sizes" or len(strides) == 1:
            level_sizes = [list(self.sizes)] * len(strides)
        if len(level_sizes) != len(strides):
            raise InputError(
                f"model.rpn.anchors: sizes: {len(strides)} levels need as many sizes, not {len(self.sizes)}"
            )
        return AnchorGenerator(level_sizes, self.ratios, strides, self.rounding, self.order, self.stride)


class AnchorGenerator(nn.Module):
    """Generator of the anchors for the feature maps of a batch, in the resized frame.

    Args:
        sizes: square roots of the areas per level, pixels.
        ratios: aspect ratios, height / width, the same on all levels.
        strides: strides of the levels, pixels.
        rounding, order: conventions; see `cell_anchors`.
        stride: "fixed" uses `strides` (detectron2); "image_ratio" the padded image's size // the feature map's
            (torchvision: 800 // 13 = 61 if the network's stride is 64).
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
        """Compute anchors, one tensor [H * W * A, 4] per level, positions in row-major order.

        Args:
            feature_sizes: (height, width) of the feature map of each level.
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
