"""The port for backbones: what a detector needs to know of a network that turns images into feature maps.

Shape letters: N images, C channels, H and W padded height and width.
"""

from collections.abc import Mapping, Sequence
from itertools import chain
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.parameter import is_lazy

from lightning_rcnn.errors import InputError
from lightning_rcnn.parts import Part


class Backbone(Part):
    """Base of backbones. A subclass sets `strides` and `out_channels`, and computes the maps in `forward`.

    Everything else has a default: regions are pooled from all maps.

    The strides of maps that regions are pooled from have to double from map to map (4, 8, 16): which level a region
    belongs to is the logarithm of its size (FPN equation 1). A backbone with others names some in `roi_strides`, or
    comes with a pooler of its own. It needs as many anchor sizes as maps (`model.rpn.anchors.sizes`).

    A backbone belongs to one detector, which may take layers of it (`take_region_stage`) and change it
    (`align_with_image`).

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

    def after_init(self) -> None:
        """Refuse a backbone that does not say its maps.

        Raises:
            InputError: `strides`, `roi_strides` or `out_channels` are missing, or cannot be.
        """
        name = type(self).__name__
        for attribute in ("strides", "out_channels"):
            if not hasattr(self, attribute):
                raise InputError(f"{name}: sets no `{attribute}`, which a backbone has to say of its maps")
        strides = self.strides
        is_list = isinstance(strides, tuple | list) and len(strides) > 0
        if not is_list or not all(isinstance(stride, int) and stride > 0 for stride in strides):
            raise InputError(f"{name}: strides {strides!r}: give whole numbers, one for each map, such as (8, 16)")
        if list(strides) != sorted(set(strides)):
            raise InputError(f"{name}: strides {list(strides)}: give them in ascending order, the finest map first")
        if list(self.roi_strides) != list(strides[: len(self.roi_strides)]) or not self.roi_strides:
            raise InputError(
                f"{name}: roi_strides {list(self.roi_strides)}: give the first ones of strides {list(strides)}"
            )
        if not isinstance(self.out_channels, int) or self.out_channels < 1:
            raise InputError(f"{name}: out_channels {self.out_channels!r}: give one whole number, that of every map")

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

    def layers(self) -> Sequence[nn.Module]:
        """Return the layers in order from the input, for learning rates of their own (`model.parameter_groups`).

        Those of the network that weights of a classifier are for, not those of a pyramid on top; by default the whole
        backbone is one.
        """
        return [self]

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


def require_maps(backbone: Backbone) -> None:
    """Run a backbone on the shapes alone, without numbers, and see that its maps are those that it says.

    Nothing is computed or drawn, and the backbone stays as it is. What cannot run so (it reads numbers, or takes one
    size of images only) is left to the first step.

    Raises:
        InputError: another number of maps, or maps of other channels or strides.
    """
    weights = dict(chain(backbone.named_parameters(), backbone.named_buffers()))
    if any(is_lazy(value) for value in weights.values()):  # the first images decide its shapes, not these
        return
    side = 16 * max(backbone.strides)
    weights = {name: value.to("meta") for name, value in weights.items()}
    try:
        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            maps = functional_call(backbone, weights, (torch.empty(1, 3, side, side, device="meta"),))
    except Exception:  # whatever a user's network makes of numbers that are not there
        return
    name, strides = type(backbone).__name__, list(backbone.strides)
    if not isinstance(maps, list | tuple) or len(maps) != len(strides):
        found = len(maps) if isinstance(maps, list | tuple) else f"a {type(maps).__name__} in place of a list of"
        raise InputError(f"{name}: forward gives {found} maps, and strides {strides} has {len(strides)}")
    for stride, features in zip(strides, maps, strict=True):
        height, channels = features.shape[2], features.shape[1]
        if channels != backbone.out_channels:
            raise InputError(
                f"{name}: the map of stride {stride} has {channels} channels, and out_channels is "
                f"{backbone.out_channels}"
            )
        # Without padding a map is somewhat smaller, as AlexNet's.
        if not 0.75 < height * stride / side < 1.25:
            raise InputError(
                f"{name}: for an image of {side} x {side} pixels the map of stride {stride} has {height} rows; it "
                f"should have about {side // stride}"
            )
