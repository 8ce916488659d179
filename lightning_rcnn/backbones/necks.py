"""From a network to the feature maps that a detector works on."""

from collections.abc import Callable
from typing import Literal, get_args

from torch import nn

from lightning_rcnn.backbones.c4 import ResNetC4
from lightning_rcnn.backbones.dc5 import ResNetDC5
from lightning_rcnn.backbones.fpn import ResNetFPN
from lightning_rcnn.backbones.resnet import ResNetBody
from lightning_rcnn.errors import InputError

NeckName = Literal["fpn", "c4", "dc5"]


def with_neck(
    body: ResNetBody, neck: NeckName, fpn_channels: int, fpn_norm: Callable[[int], nn.Module] | None
) -> tuple[ResNetFPN | ResNetC4 | ResNetDC5, nn.Module | None]:
    """The backbone, and with "c4" the stage of it that works on regions.

    Args:
        body: all four stages.
        neck: "fpn", "c4" or "dc5".
        fpn_channels, fpn_norm: as in `ResNetFPN`.

    Raises:
        InputError: no such neck, or one that does not fit the body.
    """
    if neck not in get_args(NeckName):
        raise InputError(f"model.neck {neck!r} is none of {', '.join(get_args(NeckName))}")
    if neck == "fpn":
        return ResNetFPN(body, fpn_channels, fpn_norm), None
    if neck == "dc5":
        return ResNetDC5(body), None
    if body.frozen_stages == 5:
        raise InputError("model.frozen_stages 5: with neck c4 the last stage belongs to the head; freeze at most 4")
    backbone = ResNetC4(body)
    return backbone, backbone.take_region_stage()
