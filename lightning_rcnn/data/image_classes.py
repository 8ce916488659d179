"""The classes and the sources of the images of a data set, in arrays.

Shape letters: N images, K classes, M pairs of an image and a class.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain

import numpy as np

from lightning_rcnn.data.index import ShardIndex


@dataclass(frozen=True)
class ImageClasses:
    """Classes and sources of images.

    Attributes:
        class_names: names of the classes, label 1..K.
        image_of_pair, class_of_pair: each image with each of its classes, 0..K-1; int64 [M].
        sources: number of the source of each image, int64 [N].
        source_names: names of the sources, for messages.
        image_ids: ids of the images, int64 [N].
    """

    class_names: tuple[str, ...]
    image_of_pair: np.ndarray
    class_of_pair: np.ndarray
    sources: np.ndarray
    source_names: tuple[str, ...]
    image_ids: np.ndarray

    def __len__(self) -> int:
        return len(self.sources)

    @cached_property
    def images_of_class(self) -> np.ndarray:
        """Number of images with each class, int64 [K]."""
        return np.bincount(self.class_of_pair, minlength=len(self.class_names))

    @cached_property
    def is_empty(self) -> np.ndarray:
        """Whether an image has no objects but crowds, bool [N]."""
        return np.bincount(self.image_of_pair, minlength=len(self)) == 0

    def largest_of(self, values: np.ndarray, of_empty: float) -> np.ndarray:
        """Return the largest value of the classes of each image, float64 [N].

        Args:
            values: value of each class, float64 [K], 0 or more.
            of_empty: value of an image without classes.
        """
        largest = np.where(self.is_empty, of_empty, 0.0)
        np.maximum.at(largest, self.image_of_pair, values[self.class_of_pair])
        return largest

    def sum_of(self, values: np.ndarray) -> np.ndarray:
        """Return the sum of the values of the classes of each image, float64 [N]; see `largest_of`."""
        return np.bincount(self.image_of_pair, weights=values[self.class_of_pair], minlength=len(self))

    def mean_of_class(self, values: np.ndarray) -> np.ndarray:
        """Return the mean of a value of the images with each class, float64 [K]; 0 for a class without images."""
        sums = np.bincount(self.class_of_pair, weights=values[self.image_of_pair], minlength=len(self.class_names))
        return sums / np.maximum(self.images_of_class, 1)


def image_classes(index: ShardIndex, shard_sources: Sequence[int], source_names: Sequence[str]) -> ImageClasses:
    """Collect the classes of the images of an index.

    Args:
        index: data set; one without labels gives images without classes.
        shard_sources: number of the source of each shard.
        source_names: names of the sources.
    """
    labels = [classes for shard in index.shards for classes in shard.classes or [[]] * len(shard)]
    return ImageClasses(
        class_names=tuple(category.name for category in index.categories),
        image_of_pair=np.repeat(np.arange(len(labels)), [len(classes) for classes in labels]),
        class_of_pair=np.fromiter(chain.from_iterable(labels), np.int64) - 1,
        sources=np.repeat(np.array(shard_sources, dtype=np.int64), [len(shard) for shard in index.shards]),
        source_names=tuple(source_names),
        image_ids=np.concatenate([np.array(shard.image_ids, dtype=np.int64) for shard in index.shards]),
    )
