"""Blur images with a Gaussian."""

import math
from dataclasses import replace
from functools import cache
from types import ModuleType

import numpy as np
import torch

from lightning_rcnn.data.transforms.base import Random, TrainingImage, Transform
from lightning_rcnn.data.transforms.checks import limits, probability

_SMALLEST_SIGMA, _LARGEST_SIGMA = 0.01, 100.0
_RADIUS = 3
"""Radius of the kernel in standard deviations; 0.3% of a Gaussian lie outside."""


class Blur(Transform):
    """Blurs an image with a Gaussian, as an image out of focus.

    Args:
        p: probability, 0 to 1.
        sigma: smallest and largest standard deviation in pixels of the image before the resize, 0.01 to 100.

    Raises:
        InputError: `p` is not a probability, or `sigma` is out of range.
    """

    def __init__(self, p: float = 0.1, sigma: tuple[float, float] = (0.1, 2.0)) -> None:
        self.p = probability("Blur", p)
        self.sigma = limits("Blur", "sigma", sigma, _SMALLEST_SIGMA, _LARGEST_SIGMA)

    def __call__(self, sample: TrainingImage, random: Random) -> TrainingImage:
        """Blur the image."""
        is_blurred, sigma = random.uniform() < self.p, random.uniform(*self.sigma)
        if not is_blurred:
            return sample
        kernel = _kernel(sigma)
        pixels = np.ascontiguousarray(sample.image.permute(1, 2, 0).numpy())
        # In floats, as OpenCV's blur of integers is off by 2 with a large kernel. Edges are mirrored, as torchvision's.
        cv2 = _opencv()
        blurred = cv2.sepFilter2D(pixels, cv2.CV_32F, kernel, kernel, borderType=cv2.BORDER_REFLECT_101)
        if pixels.dtype == np.uint8:
            blurred = np.rint(blurred, out=blurred).astype(np.uint8)
        return replace(sample, image=torch.from_numpy(blurred.reshape(pixels.shape)).permute(2, 0, 1).contiguous())


def _kernel(sigma: float) -> np.ndarray:
    radius = math.ceil(_RADIUS * sigma)
    weights = np.exp(-0.5 * (np.arange(-radius, radius + 1) / sigma) ** 2)
    return (weights / weights.sum()).astype(np.float32)


@cache
def _opencv() -> ModuleType:
    """Import OpenCV at first use, on one thread: images are processed in parallel instead."""
    import cv2

    cv2.setNumThreads(1)
    return cv2
