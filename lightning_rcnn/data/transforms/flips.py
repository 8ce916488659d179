"""Flip images."""

from dataclasses import replace
from typing import ClassVar

from lightning_rcnn.data.transforms.base import Random, TrainingImage, Transform
from lightning_rcnn.data.transforms.checks import probability


class HorizontalFlip(Transform):
    """Flips an image left to right.

    Args:
        p: probability of a flip, 0 to 1.

    Raises:
        InputError: `p` is not a probability.
    """

    needs_pixels: ClassVar[bool] = False

    def __init__(self, p: float = 0.5) -> None:
        self.p = probability("HorizontalFlip", p)

    def __call__(self, sample: TrainingImage, random: Random) -> TrainingImage:
        """Record the flip; see `TrainingImage`."""
        return replace(sample, is_mirrored=sample.is_mirrored != (random.uniform() < self.p))


class VerticalFlip(Transform):
    """Flips an image top to bottom.

    Args:
        p: probability of a flip, 0 to 1.

    Raises:
        InputError: `p` is not a probability.
    """

    needs_pixels: ClassVar[bool] = False

    def __init__(self, p: float = 0.5) -> None:
        self.p = probability("VerticalFlip", p)

    def __call__(self, sample: TrainingImage, random: Random) -> TrainingImage:
        """Record the flip; see `TrainingImage`."""
        return replace(sample, is_upside_down=sample.is_upside_down != (random.uniform() < self.p))
