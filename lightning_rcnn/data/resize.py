"""Resize images to a network's input size by the rules of torchvision, detectron2 and mmdetection.

Sources: torchvision 0.29 `GeneralizedRCNNTransform`; detectron2 `ResizeShortestEdge`; mmcv `imrescale` (read, not
copied).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import cv2
import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn.functional import interpolate

from lightning_rcnn.data.resized_size import fit_edges
from lightning_rcnn.errors import InputError
from lightning_rcnn.ops.resize_taps import TapsRule, axis_taps

ResizeMethod = Literal["antialiased", "pillow", "bilinear", "opencv"]


@dataclass(frozen=True)
class ResizeRule:
    """A rule for resizing: the shorter edge becomes `min_size` pixels unless the longer one would exceed `max_size`.

    Attributes:
        min_size, max_size: target length of the shorter edge and limit of the longer edge, in pixels.
        method: "antialiased" works on uint8 with antialiasing and rounds the size (detectron2). "pillow" does the same
            with Pillow, as detectron2 itself; it is slower, and one pixel in some thousands differs by one. "bilinear"
            works on floats without antialiasing and floors the size (torchvision). "opencv" works on uint8 without
            antialiasing and rounds the size (mmdetection). A converted checkpoint reproduces its original outputs only
            with its own rule.
    """

    min_size: int = 800
    max_size: int = 1333
    method: ResizeMethod = "antialiased"

    def __post_init__(self) -> None:
        if not 0 < self.min_size <= self.max_size:
            raise InputError(
                f"resize: min_size {self.min_size} and max_size {self.max_size} do not fit; "
                "give 0 < min_size <= max_size"
            )
        if self.method not in get_args(ResizeMethod):
            raise InputError(f"resize: unknown method {self.method!r}; give one of {', '.join(get_args(ResizeMethod))}")

    def size(self, height: int, width: int) -> tuple[int, int]:
        """Return (height, width) in the resized frame, at least one pixel each."""
        if self.method not in ("bilinear", "opencv"):
            return fit_edges(height, width, self.min_size, self.max_size)
        scale = min(self.min_size / min(height, width), self.max_size / max(height, width))
        rounding = 0.5 * (self.method == "opencv")
        return max(1, int(height * scale + rounding)), max(1, int(width * scale + rounding))

    def __call__(self, image: Tensor) -> Tensor:
        """Resize an image [C, h, w] by the rule; see `resize`."""
        return self.resize(image, self.size(*image.shape[-2:]))

    def resize(self, image: Tensor, size: tuple[int, int]) -> Tensor:
        """Resize an image [C, h, w], 0 to 255, to (height, width).

        Args:
            image: uint8 or float32; "pillow" takes RGB of uint8, and treats other images as "antialiased".
            size: (height, width) in pixels.

        Returns:
            [C, height, width]; float32 with "bilinear", else of the type of the image.
        """
        if self.method == "bilinear":
            return interpolate(image[None].float(), size=size, mode="bilinear", align_corners=False)[0]
        if size == tuple(image.shape[-2:]):
            return image
        if self.method == "opencv":
            scaled = cv2.resize(image.permute(1, 2, 0).numpy(), size[::-1], interpolation=cv2.INTER_LINEAR)
            return torch.from_numpy(scaled.reshape(*size, -1)).permute(2, 0, 1).contiguous()
        if self._takes_pillow(image):
            return _resize_by_pillow(image, size, image.shape[-2:])
        if 1 in (image.shape[-1], size[1]):
            return _resize_narrow(image, size)
        return interpolate(_batch_of(image), size=size, mode="bilinear", align_corners=False, antialias=True)[0]

    def taps(self, image: Tensor) -> TapsRule:
        """Return the weights by which a device resizes an image of bytes as this rule does.

        The result of "antialiased" is the same to the bit. Others are off by one at most: "pillow" where Pillow begins
        with y, and "opencv", as weights are rounded otherwise; "bilinear", which is not rounded, by far less.
        """
        if self.method in ("bilinear", "opencv"):
            return "linear"
        return "pillow" if self._takes_pillow(image) else "antialiased"

    def _takes_pillow(self, image: Tensor) -> bool:
        """Return whether Pillow resizes the image: it takes no others."""
        return self.method == "pillow" and image.shape[0] == 3 and image.dtype == torch.uint8

    def resize_corner(self, image: Tensor, size: tuple[int, int], factors: tuple[float, float]) -> Tensor:
        """Return the upper left (height, width) pixels of a resized image of which only that part is there.

        Args:
            image: [C, h, w], upper left part of an image, with a margin for the weights.
            size: number of rows and columns.
            factors: new height and width of the whole image, divided by the old ones.
        """
        if self._takes_pillow(image):
            height, width = (edge / factor for edge, factor in zip(size, factors, strict=True))
            return _resize_by_pillow(image, size, (min(height, image.shape[-2]), min(width, image.shape[-1])))
        is_antialiased = self.method in ("antialiased", "pillow")
        pixels = _batch_of(image) if is_antialiased else image[None].float()
        resized = interpolate(
            pixels, scale_factor=factors, mode="bilinear", align_corners=False, antialias=is_antialiased
        )
        part = resized[0, :, : size[0], : size[1]]
        return part.round_().to(torch.uint8) if self.method == "opencv" and image.dtype == torch.uint8 else part


def _resize_narrow(image: Tensor, size: tuple[int, int]) -> Tensor:
    """Resize an image with antialiasing as torch does, along x and then along y.

    For images that are or become one pixel wide: of these torch repeats the first row, or stops with an internal error.
    """
    if image.dtype != torch.uint8:  # which is not rounded in between: y may come first
        lying = image.mT.contiguous()[None]
        return interpolate(lying, size=size[::-1], mode="bilinear", align_corners=False, antialias=True)[0].mT
    pixels = image.numpy()
    for edge in reversed(size):
        taps = axis_taps(pixels.shape[-1], edge, "antialiased")
        first, weights = taps.table[:, :1], taps.table[:, 1:]
        sources = np.minimum(first + np.arange(taps.num_taps), pixels.shape[-1] - 1)
        sums = (pixels[..., sources] * weights).sum(axis=-1)
        pixels = ((sums + (1 << taps.bits - 1)) >> taps.bits).clip(0, 255).astype(np.uint8).swapaxes(-1, -2)
    return torch.from_numpy(pixels)


def _batch_of(image: Tensor) -> Tensor:
    """Return [1, C, h, w], with strides by which torch knows that the image is channels last in memory.

    Those of `image[None]` are ambiguous: torch would convert its uint8 result into planes, which takes as long as to
    resize.
    """
    return image.permute(1, 2, 0)[None].permute(0, 3, 1, 2)


def _resize_by_pillow(image: Tensor, size: tuple[int, int], part: Sequence[float]) -> Tensor:
    """Resize the upper left (height, width) pixels of a uint8 image [3, h, w]."""
    pixels = Image.fromarray(image.permute(1, 2, 0).numpy())
    resized = pixels.resize(size[::-1], Image.Resampling.BILINEAR, box=(0, 0, part[1], part[0]))
    return torch.from_numpy(np.array(resized)).permute(2, 0, 1).contiguous()


class OriginalSize(ResizeRule):
    """The rule that leaves images in their own size, for inference that resizes parts of them."""

    def size(self, height: int, width: int) -> tuple[int, int]:
        """Return the same (height, width)."""
        return height, width
