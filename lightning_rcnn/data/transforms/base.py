"""The base class of our transforms of training images, with their input and random numbers.

Shape letters: m objects of an image, h and w its height and width, P proposals.
"""

import hashlib
from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from lightning_rcnn.masks.segmentation import Segmentation
from lightning_rcnn.parts import Recorded


@dataclass(frozen=True)
class TrainingImage:
    """An image with its annotations, the input and output of a transform.

    Flips are only recorded, and applied once after the resize, when there are fewer pixels. All other attributes
    describe the image before the flips.

    Attributes:
        image: uint8 [3, h, w], RGB.
        boxes: float32 [m, 4], xyxy in pixels of `image`.
        labels: int64 [m], 1..K.
        is_crowd: bool [m].
        segmentations: polygons or RLE of the m objects, in pixels of `image`; None for an object without a mask.
        proposals: float32 [P, 5], boxes and scores; None if there are none.
        is_mirrored: whether to flip left to right.
        is_upside_down: whether to flip top to bottom.
    """

    image: Tensor
    boxes: np.ndarray
    labels: np.ndarray
    is_crowd: np.ndarray
    segmentations: list[Segmentation | None]
    proposals: np.ndarray | None = None
    is_mirrored: bool = False
    is_upside_down: bool = False


class Random:
    """Random numbers that depend only on (seed, epoch, sample, position in the list).

    So a sample looks the same in an epoch, regardless of the worker and rank that read it, of the order, and of
    restarts.

    Args:
        seed: seed of the run.
        epoch: planned epoch.
        sample: number of the sample in the data set.
        position: position of the transform in its list, so that transforms draw independently of each other.
    """

    def __init__(self, seed: int, epoch: int, sample: int, position: int) -> None:
        self._key = f"{seed}/{epoch}/{sample}/{position}"
        self._drawn = 0

    def integer(self) -> int:
        """Draw an integer from 0 to 2**64 - 1."""
        digest = hashlib.blake2b(f"{self._key}/{self._drawn}".encode(), digest_size=8).digest()
        self._drawn += 1
        return int.from_bytes(digest, "little")

    def uniform(self, low: float = 0.0, high: float = 1.0) -> float:
        """Draw a number from `low` to `high`."""
        return low + (high - low) * (self.integer() >> 11) * 2.0**-53


class Transform(Recorded, ABC):
    """Base class of our own transforms, which need no decoded masks.

    The list of transforms may also have any other callable of (image, target), such as those of
    `torchvision.transforms.v2`: see `torchvision.py`.
    """

    @abstractmethod
    def __call__(self, sample: TrainingImage, random: Random) -> TrainingImage:
        """Return the transformed image without changing `sample`."""
