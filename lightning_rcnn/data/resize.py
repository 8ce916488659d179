"""Bringing an image to the size that a network wants: the two rules of the field, and no third.

Sources: torchvision 0.29 `GeneralizedRCNNTransform`; detectron2 `ResizeShortestEdge` (both read, not copied).
"""

from dataclasses import dataclass
from typing import Literal, get_args

from torch import Tensor
from torch.nn.functional import interpolate

from lightning_rcnn.errors import InputError

ResizeMethod = Literal["antialiased", "bilinear"]


@dataclass(frozen=True)
class ResizeRule:
    """The shorter edge becomes `min_size` pixels unless the longer one would then exceed `max_size`.

    Attributes:
        min_size, max_size: pixels.
        method: "antialiased" works on uint8 with antialiasing and rounds the size (detectron2); "bilinear" works on
            floats without antialiasing and floors the size (torchvision). A checkpoint from elsewhere gives its own
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
        scale = min(self.min_size / min(height, width), self.max_size / max(height, width))
        rounding = 0.0 if self.method == "bilinear" else 0.5
        return max(1, int(height * scale + rounding)), max(1, int(width * scale + rounding))

    def __call__(self, image: Tensor) -> Tensor:
        """Resize a uint8 image [3, h, w]; the result is uint8 ("antialiased") or float32 ("bilinear"), 0 to 255."""
        size = self.size(*image.shape[-2:])
        if self.method == "bilinear":
            return interpolate(image[None].float(), size=size, mode="bilinear", align_corners=False)[0]
        if size == tuple(image.shape[-2:]):
            return image
        return interpolate(image[None], size=size, mode="bilinear", align_corners=False, antialias=True)[0]
