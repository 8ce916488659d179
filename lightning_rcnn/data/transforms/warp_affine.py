"""Warp the pixels of an image by an affine map, with torchvision's numbers but some rows at a time.

Shape letters: C channels, h and w height and width of an image, r rows of a band.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import grid_sample

_BAND_ROWS = 64
"""Rows that are warped at once: coordinates and floats of the whole result would take three times the memory."""


def warp_affine(
    image: Tensor, degrees: float, shift: Sequence[float], scale: float, shear: float, fill: Sequence[float]
) -> Tensor:
    """Shear, scale and rotate an image around its center, and shift it; its size stays the same.

    The result is that of `torchvision.transforms.v2.functional.affine` with linear interpolation.

    Args:
        image: [C, h, w], uint8 or float32.
        degrees: rotation, clockwise.
        shift: shift in x and y, pixels.
        scale: factor.
        shear: shear in x, degrees.
        fill: color of pixels from outside the image, [C].
    """
    channels, height, width = image.shape
    to_source = _inverse(degrees, shift, scale, shear).T / torch.tensor([0.5 * width, 0.5 * height])
    columns = torch.linspace((1.0 - width) * 0.5, (width - 1.0) * 0.5, steps=width)
    rows = torch.linspace((1.0 - height) * 0.5, (height - 1.0) * 0.5, steps=height)
    source = torch.ones(1, channels + 1, height, width)  # the last channel becomes the image's share in each pixel
    source[0, :channels] = image
    color = torch.tensor(fill, dtype=torch.float32)[:, None, None]
    warped = torch.empty_like(image, memory_format=torch.contiguous_format)
    for band, centers in zip(warped.split(_BAND_ROWS, dim=-2), rows.split(_BAND_ROWS), strict=True):
        points = torch.ones(len(centers), width, 3)
        points[..., 0], points[..., 1] = columns, centers[:, None]
        grid = torch.bmm(points.view(1, -1, 3), to_source[None]).view(1, len(centers), width, 2)
        sampled = grid_sample(source, grid, mode="bilinear", padding_mode="zeros", align_corners=False)[0]
        pixels, share = sampled[:-1], sampled[-1:]
        pixels = pixels.sub_(color).mul_(share.expand_as(pixels)).add_(color)
        band.copy_(pixels if image.is_floating_point() else pixels.round_())
    return warped


def _inverse(degrees: float, shift: Sequence[float], scale: float, shear: float) -> Tensor:
    """Return the map from the warped image to the original one, both from their centers, float32 [2, 3]."""
    angle, slope = math.radians(degrees), math.tan(math.radians(shear))
    cos, sin = math.cos(angle), math.sin(angle)
    matrix = [[(cos - sin * slope) / scale, (cos * slope + sin) / scale], [-sin / scale, cos / scale]]
    x, y = shift
    return torch.tensor([[a, b, -a * x - b * y] for a, b in matrix])
