"""Bringing an image to the size that a network wants: the two rules of the field, and no third.

Sources: torchvision 0.29 `GeneralizedRCNNTransform`; detectron2 `ResizeShortestEdge` (both read, not copied).
"""

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn.functional import interpolate

from lightning_rcnn.errors import InputError

ResizeMethod = Literal["antialiased", "pillow", "bilinear"]


@dataclass(frozen=True)
class ResizeRule:
    """The shorter edge becomes `min_size` pixels unless the longer one would then exceed `max_size`.

    Attributes:
        min_size, max_size: pixels.
        method: "antialiased" works on uint8 with antialiasing and rounds the size (detectron2); "pillow" does the same
            with Pillow, as detectron2 itself: slower, and other by one in one pixel of some thousands; "bilinear" works
            on floats without antialiasing and floors the size (torchvision). A checkpoint from elsewhere gives its own
            outputs only under its own rule.
    """

    min_size: int = 800
    max_size: int = 1333
    method: ResizeMethod = "antialiased"

    def __post_init__(self) -> None:
        if not 0 < self.min_size <= self.max_size:
            raise InputError(f"resize: 0 < min_size <= max_size does not hold for {self.min_size}, {self.max_size}")
        if self.method not in get_args(ResizeMethod):
            raise InputError(f"resize method {self.method!r} is none of {', '.join(get_args(ResizeMethod))}")

    def size(self, height: int, width: int) -> tuple[int, int]:
        """(height, width) in the resized frame, at least one pixel each."""
        scale = self.min_size / min(height, width)
        if self.method == "bilinear":
            scale = min(scale, self.max_size / max(height, width))
            return max(1, int(height * scale)), max(1, int(width * scale))
        # In two steps, whose roundings decide where a product ends in one half: 1032 x 180 becomes 1333 x 232.
        sides = (self.min_size, width * scale) if height < width else (height * scale, self.min_size)
        limit = min(1.0, self.max_size / max(sides))
        return max(1, int(sides[0] * limit + 0.5)), max(1, int(sides[1] * limit + 0.5))

    def __call__(self, image: Tensor) -> Tensor:
        """Resize a uint8 image [3, h, w] by the rule; see `resize`."""
        return self.resize(image, self.size(*image.shape[-2:]))

    def resize(self, image: Tensor, size: tuple[int, int]) -> Tensor:
        """Resize a uint8 image [3, h, w] to (height, width); float32 ("bilinear") or uint8 (the others), 0 to 255."""
        if self.method == "bilinear":
            return interpolate(image[None].float(), size=size, mode="bilinear", align_corners=False)[0]
        if size == tuple(image.shape[-2:]):
            return image
        if self.method == "pillow":
            picture = Image.fromarray(image.permute(1, 2, 0).numpy()).resize(size[::-1], Image.Resampling.BILINEAR)
            return torch.from_numpy(np.array(picture)).permute(2, 0, 1).contiguous()
        return interpolate(image[None], size=size, mode="bilinear", align_corners=False, antialias=True)[0]
