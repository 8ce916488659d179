"""The port for backbones: what a detector needs to know of a network that turns images into feature maps.

Shape letters: N images, C channels, H and W padded height and width.
"""

from collections.abc import Mapping
from typing import ClassVar

from torch import Tensor, nn

from lightning_rcnn.parts import Part


class Backbone(Part):
    """Base of backbones. A subclass sets `strides` and `out_channels`, and computes the maps in `forward`.

    Everything else has a default: regions are pooled from all maps.

    Attributes:
        strides: pixels of the input between two positions of each map, finest first. Integers.
        out_channels: channels of every map.
        roi_strides: strides of the maps that regions are pooled from: the first ones of `strides`, or all.
        region_channels: channels of a pooled region, after `take_region_stage` if there is one.
        pooled_size: side of a pooled region that suits the box head.
    """

    profiled: ClassVar[Mapping[str, str]] = {"forward": "backbone"}
    compiled_layers: tuple[str, ...] = ("",)

    strides: tuple[int, ...]
    out_channels: int
    pooled_size: int = 7

    @property
    def roi_strides(self) -> tuple[int, ...]:
        """By default all strides."""
        return self.strides

    @property
    def region_channels(self) -> int:
        """By default `out_channels`."""
        return self.out_channels

    def forward(self, images: Tensor) -> list[Tensor]:
        """Compute feature maps.

        Args:
            images: float [N, 3, H, W], normalized, padded on the right and at the bottom.

        Returns:
            One map [N, `out_channels`, ceil(H / stride), ceil(W / stride)] for each stride.
        """
        raise NotImplementedError

    def take_region_stage(self) -> nn.Module | None:
        """Hand over the stage that works on pooled regions, so that it has one owner; None if there is none ("C4")."""
        return None

    def take_fully_connected(self) -> list[nn.Linear]:
        """Hand over layers of the classification network that a two-layer box head may start from; none by default."""
        return []

    def align_with_image(self) -> None:
        """Make position (i, j) of a map look at pixel (stride * i, stride * j), as pooling of regions assumes.

        Detectors that pool regions call it once; it does nothing by default.
        """
