"""The base class of our transforms of training images, with their input and random numbers.

Shape letters: C channels and m objects of an image, h and w its height and width, P proposals.
"""

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from lightning_rcnn.data.keypoints import ObjectKeypoints
from lightning_rcnn.data.pixel_format import PixelFormat, per_channel
from lightning_rcnn.masks.crops import ObjectMask, Window
from lightning_rcnn.ops.color_steps import ColorStep
from lightning_rcnn.parts import Recorded


@dataclass(frozen=True)
class TrainingImage:
    """An image with its annotations, the input and output of a transform.

    Crops, quarter turns and flips are only recorded, and applied once: `render` cuts out the window, resizes it and
    flips the result. What is then seen, still in pixels of `image`, is called the displayed frame (`view.py`). All
    other attributes describe `image` as it is, before that.

    Attributes:
        image: uint8 RGB [3, h, w], or [C, h, w] of another pixel format: uint8, or float32 from 0 to 255.
        boxes: float32 [m, 4], xyxy in pixels of `image`.
        labels: int64 [m], 1..K.
        is_crowd: bool [m].
        segmentations: polygons, RLE or pixels of the m objects, in pixels of `image`; None for an object without a
            mask. They may exceed the window.
        proposals: float32 [P, 5], boxes and scores; None if there are none. They may exceed the window.
        is_mirrored: whether to flip left to right, last.
        is_upside_down: whether to flip top to bottom, last.
        is_transposed: whether to swap rows and columns, before the flips.
        window: part of `image` that is displayed; may reach beyond it. None for the whole image.
        fill: color of the pixels of the window that are beyond `image`, RGB; see `color_of`.
        colors: changes of the colors of `image` that are recorded, too, for the device to apply; see
            `color_transform.py`.
        final_size: (height, width) of the displayed frame after the resize, in pixels; None if the resize rule decides.
        negative_labels, not_exhaustive_labels: see `Targets`.
        keypoints: keypoints of the m objects in pixels of `image`; None if they are not needed.
    """

    image: Tensor
    boxes: np.ndarray
    labels: np.ndarray
    is_crowd: np.ndarray
    segmentations: list[ObjectMask | None]
    proposals: np.ndarray | None = None
    is_mirrored: bool = False
    is_upside_down: bool = False
    is_transposed: bool = False
    window: Window | None = None
    fill: tuple[int, int, int] = (0, 0, 0)
    final_size: tuple[int, int] | None = None
    colors: tuple[ColorStep, ...] = ()
    negative_labels: tuple[int, ...] = ()
    not_exhaustive_labels: tuple[int, ...] = ()
    keypoints: ObjectKeypoints | None = None

    def with_objects(self, kept: np.ndarray) -> "TrainingImage":
        """Return the image with some of its objects.

        Args:
            kept: bool [m], or their indices in the new order.
        """
        indices = np.flatnonzero(kept) if kept.dtype == np.bool_ else kept
        return replace(
            self,
            boxes=self.boxes[indices],
            labels=self.labels[indices],
            is_crowd=self.is_crowd[indices],
            segmentations=[self.segmentations[index] for index in indices],
            keypoints=None if self.keypoints is None else self.keypoints.of(indices),
        )


def color_of(fill: Sequence[float], image: Tensor) -> Tensor:
    """Return a color, RGB, as the pixel [C, 1, 1] of an image [C, h, w], by the rule of `per_channel`."""
    return torch.tensor(per_channel(fill, image.shape[0]), dtype=image.dtype)[:, None, None]


class Random:
    """Random numbers that depend only on (seed, epoch, sample, position in the list).

    So a sample looks the same in an epoch, regardless of the worker and rank that read it, of the order, and of
    restarts.

    Args:
        seed: seed of the run.
        epoch: planned epoch.
        sample: number of the sample in the data set; of one that an epoch has several times, `plan.entry_number`.
        position: position of the transform in its list, so that transforms draw independently of each other.
        branches: see `branch`.
    """

    def __init__(self, seed: int, epoch: int, sample: int, position: int, *branches: int) -> None:
        self._path = (seed, epoch, sample, position, *branches)
        self._key = "/".join(map(str, self._path))
        self._drawn = 0

    def branch(self, index: int, position: int) -> "Random":
        """Return other random numbers, which depend on these and on what they are for.

        Args:
            index: number of the partner among those of the sample; see `MixingTransform`.
            position: position of the transform that the partner passes.
        """
        return Random(*self._path, index, position)

    def integer(self) -> int:
        """Draw an integer from 0 to 2**64 - 1."""
        digest = hashlib.blake2b(f"{self._key}/{self._drawn}".encode(), digest_size=8).digest()
        self._drawn += 1
        return int.from_bytes(digest, "little")

    def uniform(self, low: float = 0.0, high: float = 1.0) -> float:
        """Draw a number from `low` to `high`."""
        return low + (high - low) * (self.integer() >> 11) * 2.0**-53

    def whole(self, low: int, high: int) -> int:
        """Draw a whole number from `low` to `high`, both included."""
        return low + self.integer() % (high - low + 1)


class Transform(Recorded, ABC):
    """Base class of our own transforms, which need no decoded masks.

    The list of transforms may also have any other callable of (image, target), such as those of
    `torchvision.transforms.v2`: see `torchvision.py`.

    Attributes:
        needs_pixels: whether it reads or changes pixels, and does not only record what becomes of them.
    """

    needs_pixels: ClassVar[bool] = True

    def refusal(self, pixels: PixelFormat) -> str:
        """Say why the transform cannot be applied to images of a pixel format, and what to do; empty if it can."""
        return ""

    @abstractmethod
    def __call__(self, sample: TrainingImage, random: Random) -> TrainingImage:
        """Return the transformed image without changing `sample`."""
