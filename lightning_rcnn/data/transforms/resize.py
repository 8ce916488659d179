"""Which sizes a training image is resized to: decided by the plan, so that batches have few shapes."""

from collections.abc import Sequence

from lightning_rcnn.data.transforms.base import Random, TrainingImage, Transform
from lightning_rcnn.errors import InputError


class Resize(Transform):
    """Multi-scale training: each batch draws the length of its images' shorter edge. It stands last in the list.

    Images are resized in any case, without it by the model's own rule.

    Args:
        min_sizes: lengths, pixels.

    Raises:
        InputError: no length, or one that is none.
    """

    def __init__(self, min_sizes: Sequence[int]) -> None:
        if not isinstance(min_sizes, list | tuple) or not min_sizes or min(min_sizes) < 1:
            raise InputError(
                f"data.train_transforms: Resize: min_sizes {min_sizes}: a list of lengths of at least 1 pixel"
            )
        self.min_sizes = list(min_sizes)

    def __call__(self, sample: TrainingImage, random: Random) -> TrainingImage:
        """Leave it to the plan, which knows the other images of the batch."""
        return sample
