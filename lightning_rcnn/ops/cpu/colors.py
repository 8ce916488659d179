"""Changes of colors with torchvision's functions, on any device.

Shape letters: C channels, h and w height and width of an image.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torchvision.transforms.v2 import functional as F

from lightning_rcnn.ops.color_steps import CHANNEL_ORDERS, COLORS, ColorKind, ColorStep

_WHITE = 255
_BAND_ROWS = 64
"""Rows that are changed at once. torchvision makes up to a dozen images of floats, which take much memory; those of a
band fit a cache. A multiple of what processors compute at once, so that numbers are rounded as in the whole image."""


def _in_bands(change: Callable[[Tensor, float], Tensor]) -> Callable[[Tensor, float], Tensor]:
    """Return a change of pixels that depend each on itself alone, done some rows at a time: the result is the same."""

    def change_bands(image: Tensor, value: float) -> Tensor:
        bands = [change(band, value) for band in image.split(_BAND_ROWS, dim=-2)]
        is_channels_last = bands[0].stride(-3) == 1 != bands[0].stride(-1)
        if not is_channels_last:
            return torch.cat(bands, dim=-2)
        return torch.cat([band.movedim(-3, -1) for band in bands], dim=-3).movedim(-1, -3)

    return change_bands


def _adjust_contrast(image: Tensor, factor: float) -> Tensor:
    """Do what `F.adjust_contrast` does, which blends with the mean of the whole image, with the same numbers."""
    is_whole, gray = not image.is_floating_point(), image
    if image.shape[-3] == COLORS:
        red, green, blue = image.unbind(dim=-3)
        gray = red.mul(0.2989).add_(green, alpha=0.587).add_(blue, alpha=0.114).unsqueeze(-3)
        gray = gray.floor_() if is_whole else gray
    mean = gray.float().mean(dim=(-3, -2, -1), keepdim=True)

    def blend(band: Tensor, factor: float) -> Tensor:
        blended = band.mul(factor).add_(mean, alpha=1.0 - factor).clamp_(0, _WHITE if is_whole else 1)
        return blended.to(image.dtype)

    return _in_bands(blend)(image, factor)


_CHANGES: dict[ColorKind, Callable[[Tensor, float], Tensor]] = {
    ColorKind.BRIGHTNESS: _in_bands(F.adjust_brightness),
    ColorKind.CONTRAST: _adjust_contrast,
    ColorKind.SATURATION: _in_bands(F.adjust_saturation),
    ColorKind.HUE: _in_bands(F.adjust_hue),
    ColorKind.ORDER: lambda image, order: image[list(CHANNEL_ORDERS[int(order)])],
    ColorKind.GRAY: lambda image, _: F.rgb_to_grayscale(image, num_output_channels=COLORS),
}


def changed(image: Tensor, steps: Sequence[ColorStep]) -> Tensor:
    """Return an image after steps, one after the other; bytes are cut off to whole numbers after each.

    Args:
        image: uint8 [C, h, w], or float32 from 0 to 1.
        steps: steps; without three channels only of brightness and contrast, which change each channel by itself.
    """
    result = image if image.shape[0] == COLORS else image[:, None]
    for kind, value in steps:
        result = _CHANGES[ColorKind(kind)](result, value)
    return result.reshape(image.shape)
