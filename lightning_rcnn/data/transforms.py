"""Random views of a training image: flips, colour jitter, and the resize rule, with the boxes that follow.

Everything random is drawn from `hash(seed, epoch, sample number)`, so a sample looks the same in an epoch whichever
worker of whichever rank reads it, and in whatever order. Geometry is one map of points, applied to boxes here and fit
for polygons. Colours change before the resize, on uint8, where both resize methods still have the same image.
"""

import hashlib
import struct
from dataclasses import dataclass

import numpy as np
from torch import Tensor
from torchvision.transforms.v2 import functional as F

from lightning_rcnn.data.resize import ResizeRule
from lightning_rcnn.errors import InputError

MIN_BOX_EDGE = 1e-2
"""Pixels of the resized frame; a ground-truth box with a shorter edge has no finite encoding worth learning."""


@dataclass(frozen=True)
class AxisAlignedMap:
    """x' = scale_x * x + shift_x, and so for y: from the original to the resized frame. A negative scale mirrors."""

    scale_x: float
    shift_x: float
    scale_y: float
    shift_y: float

    def points(self, points: np.ndarray) -> np.ndarray:
        """Map float [..., 2], (x, y)."""
        scale, shift = [self.scale_x, self.scale_y], [self.shift_x, self.shift_y]
        return points * np.array(scale, points.dtype) + np.array(shift, points.dtype)

    def boxes(self, boxes: np.ndarray) -> np.ndarray:
        """Map float [..., 4], xyxy; what was the left edge may become the right one."""
        first, second = self.points(boxes[..., :2]), self.points(boxes[..., 2:])
        return np.concatenate([np.minimum(first, second), np.maximum(first, second)], axis=-1)


@dataclass(frozen=True)
class View:
    """What chance decided for one sample in one epoch; a factor of 1 and a hue of 0 change nothing."""

    flip_horizontally: bool = False
    flip_vertically: bool = False
    brightness: float = 1.0
    contrast: float = 1.0
    saturation: float = 1.0
    hue: float = 0.0

    def recolour(self, image: Tensor) -> Tensor:
        """Change the colours of a uint8 image [3, h, w]."""
        if self.brightness != 1.0:
            image = F.adjust_brightness(image, self.brightness)
        if self.contrast != 1.0:
            image = F.adjust_contrast(image, self.contrast)
        if self.saturation != 1.0:
            image = F.adjust_saturation(image, self.saturation)
        if self.hue != 0.0:
            image = F.adjust_hue(image, self.hue)
        return image


@dataclass(frozen=True)
class Augmentation:
    """How much chance may change an image.

    Attributes:
        horizontal_flip, vertical_flip: probabilities.
        brightness, contrast, saturation: a factor is drawn from [max(0, 1 - x), 1 + x].
        hue: a shift is drawn from [-x, x], in turns of the colour circle, at most 0.5.
        seed: of the run.
    """

    horizontal_flip: float = 0.5
    vertical_flip: float = 0.0
    brightness: float = 0.0
    contrast: float = 0.0
    saturation: float = 0.0
    hue: float = 0.0
    seed: int = 0

    def __post_init__(self) -> None:
        limits = {"horizontal_flip": 1.0, "vertical_flip": 1.0, "hue": 0.5}
        for name in ("horizontal_flip", "vertical_flip", "brightness", "contrast", "saturation", "hue"):
            value, limit = getattr(self, name), limits.get(name, float("inf"))
            if not 0.0 <= value <= limit:
                raise InputError(f"data.{name} is {value}; it has to lie between 0 and {limit:g}")

    def draw(self, epoch: int, sample: int) -> View:
        """The view of one sample in one epoch."""
        # Six numbers, always: what one strength is must not change what another one draws.
        digest = hashlib.blake2b(f"{self.seed}/{epoch}/{sample}".encode(), digest_size=48).digest()
        horizontal, vertical, *factors, hue = (number / 2**64 for number in struct.unpack("<6Q", digest))
        strengths = (self.brightness, self.contrast, self.saturation)
        brightness, contrast, saturation = map(_factor, strengths, factors)
        return View(
            horizontal < self.horizontal_flip,
            vertical < self.vertical_flip,
            brightness,
            contrast,
            saturation,
            (2.0 * hue - 1.0) * self.hue,
        )


def render(image: Tensor, rule: ResizeRule, view: View) -> tuple[Tensor, AxisAlignedMap]:
    """Bring an image into the network's frame.

    Args:
        image: uint8 [3, h, w], original frame.
        rule: the resize rule.
        view: flips and colours.

    Returns:
        The image [3, h', w'], uint8 or float32 as the rule has it, and the map of points into its frame.
    """
    height, width = image.shape[-2:]
    resized = rule(view.recolour(image))
    new_height, new_width = resized.shape[-2:]
    scale_x, scale_y = new_width / width, new_height / height
    shift_x = shift_y = 0.0
    if view.flip_horizontally:
        resized, scale_x, shift_x = resized.flip(-1), -scale_x, float(new_width)
    if view.flip_vertically:
        resized, scale_y, shift_y = resized.flip(-2), -scale_y, float(new_height)
    return resized, AxisAlignedMap(scale_x, shift_x, scale_y, shift_y)


def clip_and_keep(boxes: np.ndarray, height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Clip boxes to their image and tell which still are boxes.

    Args:
        boxes: float [M, 4], resized frame.
        height, width: of the image in that frame.

    Returns:
        The clipped boxes [M, 4], and bool [M]: both edges at least `MIN_BOX_EDGE` long.
    """
    clipped = np.clip(boxes, 0.0, np.array([width, height, width, height], boxes.dtype))
    edges = clipped[:, 2:] - clipped[:, :2]
    return clipped, np.all(edges >= MIN_BOX_EDGE, axis=1)


def _factor(strength: float, chance: float) -> float:
    low, high = max(0.0, 1.0 - strength), 1.0 + strength
    return low + (high - low) * chance
