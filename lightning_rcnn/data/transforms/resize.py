"""Multi-scale training: the plan decides the sizes, so that batches have few shapes."""

from collections.abc import Sequence
from typing import ClassVar

from lightning_rcnn.data.transforms.base import Random, TrainingImage, Transform
from lightning_rcnn.errors import InputError


class Resize(Transform):
    """Multi-scale training: each batch draws the length of its images' shorter edge. It must be last in the list.

    Images are always resized; without this transform, the model's own rule decides.

    Args:
        min_sizes: lengths of the shorter edge, in pixels.

    Raises:
        InputError: there is no length, or a length is less than 1.
    """

    needs_pixels: ClassVar[bool] = False

    def __init__(self, min_sizes: Sequence[int]) -> None:
        if not isinstance(min_sizes, list | tuple) or not min_sizes or min(min_sizes) < 1:
            raise InputError(
                f"data.train_transforms: Resize: min_sizes is {min_sizes}; give a list of lengths of at least 1 pixel"
            )
        self.min_sizes = list(min_sizes)

    def __call__(self, sample: TrainingImage, random: Random) -> TrainingImage:
        """Return the sample unchanged: the plan, which knows the other images of the batch, decides the size."""
        return sample
