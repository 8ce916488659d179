"""Base of backbones: the interface between a detector and a network that computes feature maps.

Shape letters: N images, C channels, H and W padded height and width.
"""

from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.parameter import is_lazy

from lightning_rcnn.errors import InputError
from lightning_rcnn.parts import Part


class Backbone(Part):
    """Base of backbones. A subclass sets `strides` and `out_channels`, and computes the feature maps in `forward`.

    Everything else has a default: regions are pooled from all maps.

    The strides of maps that regions are pooled from must double from map to map (4, 8, 16), because the level of a
    region is the logarithm of its size (FPN equation 1). A backbone with other strides lists suitable ones in
    `roi_strides`, or comes with its own pooler. There must be as many anchor sizes (`model.rpn.anchors.sizes`) as maps.

    A backbone belongs to one detector, which may take over layers (`take_region_stage`) and change it
    (`align_with_image`).

    Attributes:
        strides: strides of the maps, integers, input pixels, finest first.
        out_channels: channels of every map.
        in_channels: channels of the images; 3 unless the backbone sets it.
        roi_strides: strides of the maps that regions are pooled from: the first ones of `strides`, or all.
        region_channels: channels of a pooled region, after the region stage if there is one.
        pooled_size: default side of a pooled region for the box head.
    """

    profiled: ClassVar[Mapping[str, str]] = {"forward": "backbone"}
    compiled_layers: tuple[str, ...] = ("",)

    strides: tuple[int, ...]
    out_channels: int
    in_channels: int = 3
    pooled_size: int = 7

    def after_init(self) -> None:
        """Check the attributes that describe the feature maps.

        Raises:
            InputError: `strides`, `roi_strides` or `out_channels` are missing or invalid.
        """
        name = type(self).__name__
        for attribute in ("strides", "out_channels"):
            if not hasattr(self, attribute):
                raise InputError(f"{name}: `{attribute}` is not set; set it to describe the feature maps")
        strides = self.strides
        is_list = isinstance(strides, tuple | list) and len(strides) > 0
        if not is_list or not all(isinstance(stride, int) and stride > 0 for stride in strides):
            raise InputError(f"{name}: strides {strides!r}: give whole numbers, one for each map, such as (8, 16)")
        if list(strides) != sorted(strides):
            raise InputError(f"{name}: strides {list(strides)}: give them in ascending order, the finest map first")
        if list(self.roi_strides) != list(strides[: len(self.roi_strides)]) or not self.roi_strides:
            raise InputError(
                f"{name}: roi_strides {list(self.roi_strides)}: give the first ones of strides {list(strides)}"
            )
        if not isinstance(self.out_channels, int) or self.out_channels < 1:
            raise InputError(f"{name}: out_channels {self.out_channels!r}: give one whole number, that of every map")

    @property
    def roi_strides(self) -> tuple[int, ...]:
        """Strides of the maps that regions are pooled from; by default all."""
        return self.strides

    @property
    def region_channels(self) -> int:
        """Channels of a pooled region; by default `out_channels`."""
        return self.out_channels

    def forward(self, images: Tensor) -> list[Tensor]:
        """Compute feature maps.

        Args:
            images: normalized images, float [N, `in_channels`, H, W], padded on the right and at the bottom.

        Returns:
            A map [N, `out_channels`, ceil(H / stride), ceil(W / stride)] for each stride.
        """
        raise NotImplementedError

    def layers(self) -> Sequence[nn.Module]:
        """Return the layers in order from the input, for layer-wise learning rates (`model.parameter_groups`).

        These are the layers of the classification network, not those of a pyramid on top; by default the whole backbone
        is one layer.
        """
        return [self]

    def undecayed(self) -> Sequence[nn.Parameter]:
        """Return parameters that have the weight decay of norms, such as position embeddings; by default none."""
        return []

    def take_region_stage(self) -> nn.Module | None:
        """Hand over the stage that runs on pooled regions ("C4"), so that it has one owner; None by default."""
        return None

    def take_fully_connected(self) -> list[nn.Linear]:
        """Hand over pretrained fully connected layers for a two-layer box head; none by default."""
        return []

    def align_with_image(self) -> None:
        """Center position (i, j) of a map at pixel (stride * i, stride * j), as RoI pooling assumes.

        Detectors with RoI pooling call it once. It does nothing by default.
        """


def require_maps(backbone: Backbone) -> None:
    """Run a backbone on the meta device, and check the number, channels and strides of its feature maps.

    The backbone and the random state stay unchanged. A backbone that cannot run on the meta device (it reads values, or
    takes one image size only) is not checked.

    Raises:
        InputError: the feature maps differ from `strides` or `out_channels`.
    """
    side = 16 * max(backbone.strides)
    maps = _maps_or_none(backbone, side, side)
    if maps is None:
        return
    name, strides = type(backbone).__name__, list(backbone.strides)
    if not isinstance(maps, list | tuple) or len(maps) != len(strides):
        returned = f"{len(maps)} maps" if isinstance(maps, list | tuple) else f"a {type(maps).__name__}"
        raise InputError(f"{name}: forward returns {returned}; return a list with one for each of strides {strides}")
    for stride, features in zip(strides, maps, strict=True):
        height, channels = features.shape[2], features.shape[1]
        if channels != backbone.out_channels:
            raise InputError(
                f"{name}: the map of stride {stride} has {channels} channels, and out_channels is "
                f"{backbone.out_channels}"
            )
        # Without padding a map is somewhat smaller, such as AlexNet's.
        if not 0.75 < height * stride / side < 1.25:
            raise InputError(
                f"{name}: for an image of {side} x {side} pixels the map of stride {stride} has {height} rows; it "
                f"should have about {side // stride}"
            )


def map_sizes(backbone: Backbone, height: int, width: int) -> list[tuple[int, int]]:
    """Return the sizes (height, width) of the feature maps of a padded image.

    A backbone that cannot run on the meta device computes the maps of an empty image.
    """
    maps = _maps_or_none(backbone, height, width)
    if maps is None:
        device = next((weight.device for weight in backbone.parameters()), torch.device("cpu"))
        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            maps = backbone(torch.zeros(1, backbone.in_channels, height, width, device=device))
    return [(features.shape[2], features.shape[3]) for features in maps]


def maps_on_meta(backbone: Backbone, height: int, width: int) -> Any:
    """Return what a backbone computes of one image on the meta device: maps without values.

    Raises:
        Exception: any, if it cannot run there.
    """
    weights = dict(chain(backbone.named_parameters(), backbone.named_buffers()))
    weights = {name: value.to("meta") for name, value in weights.items()}
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        return functional_call(backbone, weights, (torch.empty(1, backbone.in_channels, height, width, device="meta"),))


def _maps_or_none(backbone: Backbone, height: int, width: int) -> Any:
    """Return `maps_on_meta`; None if the backbone cannot run there."""
    if any(is_lazy(value) for value in chain(backbone.parameters(), backbone.buffers())):
        return None  # the first real images must decide its shapes
    try:
        return maps_on_meta(backbone, height, width)
    except Exception:  # a custom network may fail in any way on the meta device
        return None
