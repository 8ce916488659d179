"""SSD's crop, which keeps enough of at least one object."""

from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from lightning_rcnn.data.transforms.base import Random, TrainingImage, Transform
from lightning_rcnn.data.transforms.checks import limits
from lightning_rcnn.data.transforms.cut import cut
from lightning_rcnn.data.transforms.view import displayed_boxes, displayed_size, in_image
from lightning_rcnn.errors import InputError
from lightning_rcnn.masks.crops import Window

_DEFAULT_IOUS = (0.0, 0.1, 0.3, 0.5, 0.7, 0.9, 1.0)
_ROUNDS = 50
"""Draws of an IoU, after which the image is left whole; torchvision would go on."""


class RandomIoUCrop(Transform):
    """Cuts out a part that has a drawn IoU with at least one object; objects whose center is outside go.

    Source: SSD (Liu et al. 2016), section 2.2; the arguments are those of `torchvision.transforms.v2.RandomIoUCrop`.
    Boxes are clipped, and follow what is left of a mask. An image without objects is left whole. Batches are planned
    with the size before the crop.

    Args:
        min_scale, max_scale: limits of the height and width of the part, as shares of the image's.
        min_aspect_ratio, max_aspect_ratio: limits of width divided by height.
        sampler_options: smallest IoUs of the part with an object, of which one is drawn; 1 or more leaves the image
            whole. By default 0, 0.1, 0.3, 0.5, 0.7, 0.9 and 1.
        trials: number of parts that are tried before another IoU is drawn.

    Raises:
        InputError: limits are out of range, or there is no option or no trial.
    """

    needs_pixels: ClassVar[bool] = False

    def __init__(
        self,
        min_scale: float = 0.3,
        max_scale: float = 1.0,
        min_aspect_ratio: float = 0.5,
        max_aspect_ratio: float = 2.0,
        sampler_options: Sequence[float] | None = None,
        trials: int = 40,
    ) -> None:
        self.scales = limits("RandomIoUCrop", "[min_scale, max_scale]", (min_scale, max_scale), 0, 1)
        self.aspect_ratios = limits(
            "RandomIoUCrop",
            "[min_aspect_ratio, max_aspect_ratio]",
            (min_aspect_ratio, max_aspect_ratio),
            0,
            float("inf"),
        )
        self.ious = list(_DEFAULT_IOUS if sampler_options is None else sampler_options)
        self.trials = trials
        if not self.ious or not all(iou >= 0 for iou in self.ious):
            raise InputError(
                f"data.train_transforms: RandomIoUCrop: sampler_options is {self.ious}; give a list of IoUs, 0 or more"
            )
        if trials < 1:
            raise InputError(f"data.train_transforms: RandomIoUCrop: trials is {trials}; give 1 or more")

    def __call__(self, sample: TrainingImage, random: Random) -> TrainingImage:
        """Draw a part that fits, and record it."""
        boxes = displayed_boxes(sample)
        for _ in range(_ROUNDS if len(boxes) else 0):
            min_iou = self.ious[random.whole(0, len(self.ious) - 1)]
            if min_iou >= 1:
                return sample
            for _ in range(self.trials):
                window = self._window(*displayed_size(sample), random)
                if window is None:
                    continue
                is_inside = _has_center_inside(boxes, window)
                if is_inside.any() and _ious(boxes[is_inside], window).max() >= min_iou:
                    return cut(sample, in_image(sample, window), kept=is_inside)
        return sample

    def _window(self, full_height: int, full_width: int, random: Random) -> Window | None:
        """Draw a part of the image; None if its shape is not allowed."""
        width = int(full_width * random.uniform(*self.scales))
        height = int(full_height * random.uniform(*self.scales))
        smallest, largest = self.aspect_ratios
        if not (height and width and smallest <= width / height <= largest):
            return None
        left, top = int((full_width - width) * random.uniform()), int((full_height - height) * random.uniform())
        return left, top, left + width, top + height


def _has_center_inside(boxes: np.ndarray, window: Window) -> np.ndarray:
    centers = (boxes[:, :2] + boxes[:, 2:]) / 2
    return np.all((centers > window[:2]) & (centers < window[2:]), axis=1)


def _ious(boxes: np.ndarray, window: Window) -> np.ndarray:
    edges = np.minimum(boxes[:, 2:], window[2:]) - np.maximum(boxes[:, :2], window[:2])
    shared = np.maximum(edges, 0).prod(axis=1)
    area = (window[2] - window[0]) * (window[3] - window[1])
    return shared / ((boxes[:, 2:] - boxes[:, :2]).prod(axis=1) + area - shared)
