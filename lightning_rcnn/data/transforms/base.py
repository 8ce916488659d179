"""The port for transforms of training images, and what they are drawn from.

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
    """An image with its annotations, on its way through the transforms.

    Mirroring is noted and done once, after the resize, when there are fewer pixels: all below is as before it.

    Attributes:
        image: uint8 [3, h, w], RGB.
        boxes: float32 [m, 4], xyxy in pixels of `image`.
        labels: int64 [m], 1..K.
        is_crowd: bool [m].
        segmentations: m polygons or run lengths of that size; None for an object without a mask.
        proposals: float32 [P, 5], boxes and scores; None where there are none.
        is_mirrored: left to right.
        is_upside_down: top to bottom.
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
    """Numbers that depend on (seed, epoch, sample, position in the list) alone.

    So a sample looks the same in an epoch whichever worker of whichever rank reads it, in whatever order and after
    however many restarts.

    Args:
        seed: of the run.
        epoch: planned epoch.
        sample: number of the sample in the data set.
        position: of the transform in its list, so that what one draws does not change what another one draws.
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
    """Base of our own transforms; they need no decoded masks.

    Any other callable of (image, target), such as those of `torchvision.transforms.v2`, may stand in the same list: see
    `torchvision.py`.
    """

    @abstractmethod
    def __call__(self, sample: TrainingImage, random: Random) -> TrainingImage:
        """Return the transformed image; `sample` is not changed."""
