"""Sizes of images after transforms, known before an image is read, so that batches are planned by them."""

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any

import numpy as np

from lightning_rcnn.data.transforms.base import Random, Transform


class PlannedTransform(Transform):
    """Base class of transforms that give an image a new size which depends only on its size and on random numbers.

    The plan calls `planned_size` for all images of an epoch, and groups images by the result. A transform whose size
    depends on the objects cannot do this; the plan then expects the size before it, and an image that came out too
    large for its batch is shrunk.
    """

    @abstractmethod
    def planned_size(self, height: int, width: int, random: Random) -> tuple[int, int]:
        """Draw the (height, width) that an image of this size will have, in pixels of the displayed frame.

        `__call__` must draw the same numbers first, which is sure if it calls this method.
        """


def planned_transforms(transforms: Sequence[Any]) -> dict[int, PlannedTransform]:
    """Return position -> transform of those that plan sizes."""
    return {
        position: transform for position, transform in enumerate(transforms) if isinstance(transform, PlannedTransform)
    }


def planned_sizes(
    transforms: dict[int, PlannedTransform],
    heights: np.ndarray,
    widths: np.ndarray,
    samples: np.ndarray,
    *,
    seed: int,
    epoch: int,
) -> np.ndarray:
    """Return the sizes that images have in an epoch, before the resize.

    Args:
        transforms: position in the list -> transform.
        heights, widths: original sizes in pixels, int64 [N].
        samples: numbers by which the images draw, int64 [N].
        seed, epoch: seeds of the random numbers.

    Returns:
        (height, width), int64 [N, 2].
    """
    sizes = []
    for height, width, sample in zip(heights.tolist(), widths.tolist(), samples.tolist(), strict=True):
        for position, transform in transforms.items():
            height, width = transform.planned_size(height, width, Random(seed, epoch, sample, position))
        sizes.append((height, width))
    return np.array(sizes, dtype=np.int64).reshape(-1, 2)
