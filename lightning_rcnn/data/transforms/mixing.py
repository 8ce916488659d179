"""The base class of transforms that mix other samples of the data set into a sample."""

from abc import abstractmethod
from collections.abc import Sequence
from typing import ClassVar

from lightning_rcnn.data.transforms.base import Random, TrainingImage, Transform


class MixingTransform(Transform):
    """Base class of transforms that mix other samples, the *partners*, into a sample.

    Partners are drawn by number over the whole data set, from the random numbers of this transform. They pass the
    transforms before this one in the list, with random numbers of their own. So a mixed sample depends only on
    (seed, epoch, sample, position), as any other.

    Attributes:
        needs_masks: whether it reads masks, even if the detector does not train on them.
    """

    needs_masks: ClassVar[bool] = False

    @abstractmethod
    def num_partners(self, random: Random) -> int:
        """Draw how many partners the sample needs; 0 leaves it alone."""

    @abstractmethod
    def mix(self, sample: TrainingImage, partners: Sequence[TrainingImage], random: Random) -> TrainingImage:
        """Mix partners into a sample without changing either.

        Args:
            sample: image after the transforms before this one.
            partners: as many as `num_partners` returned; none if one of them cannot be read.
            random: random numbers of this sample, after those of `num_partners` and of the partners' numbers.
        """

    def __call__(self, sample: TrainingImage, random: Random) -> TrainingImage:
        """Return what a sample without partners becomes."""
        return self.mix(sample, [], random)


def mixing_names(transforms: Sequence[object]) -> list[str]:
    """Return the classes of the transforms that mix samples."""
    return [type(transform).__name__ for transform in transforms if isinstance(transform, MixingTransform)]


def mask_readers(transforms: Sequence[object]) -> list[str]:
    """Return the classes of the transforms that need masks, even if the detector trains on none."""
    return [
        type(transform).__name__
        for transform in transforms
        if isinstance(transform, MixingTransform) and transform.needs_masks
    ]
