"""Which images an epoch has, and how often: the settings under `data.sampling`.

Each kind states how often an epoch has each image on average. `epoch_counts.py` rounds these averages in each epoch,
and `plan.py` orders what results; so every kind is as resumable as an epoch that has each image once.

Shape letter: N images.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import MISSING, dataclass, fields
from typing import Annotated

import numpy as np

from lightning_rcnn.data.epoch_counts import MAX_EPOCH_SIZE, EpochCounts, epoch_counts
from lightning_rcnn.data.image_classes import ImageClasses
from lightning_rcnn.errors import InputError
from lightning_rcnn.plural import plural
from lightning_rcnn.settings import Settings
from lightning_rcnn.settings_checks import Bounds, Fraction, NonNegative, Positive
from lightning_rcnn.suggestions import did_you_mean

EpochSize = Annotated[int, Bounds(1, MAX_EPOCH_SIZE)]


@dataclass(frozen=True, kw_only=True)
class Sampling(Settings):
    """Settings of an epoch that has each image once, and base of the others.

    The settings apply one after the other: the averages of the kind, `empty_share`, `source_weights`, `epoch_size`. All
    epochs have the same number of images: the sum of the averages, rounded down. An image is *empty* if it has no
    object that is not a crowd.

    Args:
        empty_share: share of the images without objects in an epoch, 0 to below 1: they are repeated or left out, all
            equally often, and the others stay. With `source_weights`, it is the share within each source.
        source_weights: weights of the entries of `data.train`, in their order; an epoch has images of each in
            proportion to its weight. By default an epoch has each source as often as the kind says.
        epoch_size: number of images in an epoch, to which the averages are scaled.
    """

    empty_share: Fraction | None = None
    source_weights: tuple[NonNegative, ...] | None = None
    epoch_size: EpochSize | None = None

    @property
    def needs_labels(self) -> bool:
        """Whether the averages depend on the labels of the images."""
        return self.empty_share is not None

    def averages(self, images: ImageClasses) -> np.ndarray:
        """Return how often an epoch has each image on average, before the settings of the base, float64 [N]."""
        return np.ones(len(images))

    def counts(self, images: ImageClasses) -> EpochCounts:
        """Return how often an epoch has each image.

        Raises:
            InputError: a class is unknown, or nothing fulfills the settings.
        """
        averages = self.averages(images)
        if not averages.any():
            raise InputError(f"data.sampling: {self} gives every image the weight 0; raise one")
        if self.source_weights is not None and len(self.source_weights) != len(images.source_names):
            raise InputError(
                f"data.sampling.source_weights has {plural(len(self.source_weights), 'number')}, but data.train has "
                f"{plural(len(images.source_names), 'source')}; give one number for each"
            )
        if self.empty_share is not None:
            averages = _with_empty_share(averages, images, self.empty_share, self.source_weights)
        if self.source_weights is not None:
            averages = _with_source_weights(averages, images, self.source_weights)
        size = math.fsum(averages) if self.epoch_size is None else self.epoch_size
        if not size <= MAX_EPOCH_SIZE:
            raise InputError(f"data.sampling: {self} makes an epoch of {size:.3g} images; give an epoch_size")
        return epoch_counts(averages, self.epoch_size)

    def __str__(self) -> str:
        """Return class and arguments, without those that are at their defaults."""
        given = {
            field.name: value
            for field, value in ((field, getattr(self, field.name)) for field in fields(self))
            if field.default is MISSING or value != field.default
        }
        return f"{type(self).__name__}({', '.join(f'{name}={_shown(value)}' for name, value in given.items())})"


@dataclass(frozen=True)
class RepeatFactor(Sampling):
    """Settings of repeat-factor sampling (LVIS, Gupta et al. 2019, arXiv 1908.03195v2, appendix B.2).

    A class c that occurs in the share f(c) of the images with objects has the factor r(c) = max(1, sqrt(t / f(c))). An
    epoch has an image as often as the largest factor of its classes, and an image without objects once. This is
    detectron2's `RepeatFactorTrainingSampler` for a set without empty images, its default, except that its epochs
    differ in length.

    Args:
        threshold: share t of images below which a class is repeated; LVIS's baselines have 0.001.
    """

    threshold: Positive = 0.001

    @property
    def needs_labels(self) -> bool:
        """Whether the averages depend on the labels of the images."""
        return True

    def averages(self, images: ImageClasses) -> np.ndarray:
        """Return the repeat factor of each image, float64 [N]."""
        counts = np.maximum(images.images_of_class, 1)
        num_with_objects = int((~images.is_empty).sum())
        factors = np.maximum(1.0, np.sqrt(self.threshold * num_with_objects / counts))
        return images.largest_of(factors, of_empty=1.0)


@dataclass(frozen=True)
class ClassBalanced(Sampling):
    """Settings of class-balanced sampling (Shen et al. 2016, arXiv 1512.05830).

    An epoch draws each of the K classes that occur equally often, and for a class each of its n(c) images equally
    often: an image has the average N / K times the sum of 1 / n(c) over its classes. A class still occurs more often
    than it is drawn, in images that are drawn for others. An image without objects is not drawn, unless `empty_share`
    asks for it. An epoch is as long as the data, unless `epoch_size` states another length.
    """

    @property
    def needs_labels(self) -> bool:
        """Whether the averages depend on the labels of the images."""
        return True

    def averages(self, images: ImageClasses) -> np.ndarray:
        """Return the average of each image, float64 [N]."""
        counts = images.images_of_class
        num_classes = max(1, int((counts > 0).sum()))
        return images.sum_of(len(images) / num_classes / np.maximum(counts, 1))


@dataclass(frozen=True)
class WeightedClasses(Sampling):
    """Settings of sampling by stated weights of classes.

    An image has the largest weight of its classes; a class without a weight and an image without objects have 1. An
    epoch has images in proportion to their weights. It is as long as the data, unless `epoch_size` states another
    length.

    Args:
        weights: class name -> weight, 0 or more.
    """

    weights: dict[str, NonNegative]

    @property
    def needs_labels(self) -> bool:
        """Whether the averages depend on the labels of the images."""
        return True

    def averages(self, images: ImageClasses) -> np.ndarray:
        """Return the average of each image, float64 [N].

        Raises:
            InputError: the data have no such class.
        """
        for name in self.weights:
            if name not in images.class_names:
                raise InputError(
                    f"data.sampling.weights: data.train has no class {name!r}{did_you_mean(name, images.class_names)}"
                )
        weights = images.largest_of(
            np.array([self.weights.get(name, 1.0) for name in images.class_names], np.float64), of_empty=1.0
        )
        largest = weights.max(initial=0.0)
        if not largest:
            return weights
        weights = weights / largest  # the sum of large numbers would overflow
        return weights * (len(images) / math.fsum(weights))


def _with_empty_share(
    averages: np.ndarray, images: ImageClasses, share: float, source_weights: Sequence[float] | None
) -> np.ndarray:
    """Return averages under which images without objects have a share of an epoch, or of each weighted source in it."""
    key = f"data.sampling.empty_share {share:g}"
    if share == 1:
        raise InputError(f"{key}: leaves no image with objects; give less than 1")
    averages = np.where(images.is_empty, 0.0, averages)
    for owner, is_inside in _groups(images, source_weights):
        is_empty = images.is_empty & is_inside
        rest = math.fsum(averages[is_inside])
        if share and not is_empty.any():
            raise InputError(f"{key}: {owner} has no image without objects; add some, or leave the share out")
        if share and not rest:
            raise InputError(f"{key}: {owner} has no images with objects; leave the share out")
        averages[is_empty] = rest * share / (1 - share) / max(1, int(is_empty.sum()))
    return averages


def _groups(images: ImageClasses, source_weights: Sequence[float] | None) -> Iterator[tuple[str, np.ndarray]]:
    if source_weights is None:
        yield "data.train", np.ones(len(images), dtype=np.bool_)
        return
    for source, (name, weight) in enumerate(zip(images.source_names, source_weights, strict=True)):
        if weight:
            yield name, images.sources == source


def _with_source_weights(averages: np.ndarray, images: ImageClasses, weights: Sequence[float]) -> np.ndarray:
    """Return averages under which each source has its share of an epoch."""
    if not any(weights):
        raise InputError(f"data.sampling.source_weights {_shown(weights)}: all are 0; raise one")
    scaled = averages.copy()
    for source, (name, weight) in enumerate(zip(images.source_names, weights, strict=True)):
        is_inside = images.sources == source
        before = math.fsum(averages[is_inside])
        if weight and not before:
            raise InputError(
                f"data.sampling.source_weights: {name} has the weight {weight:g}, but no image that an epoch may have; "
                "give it 0, or leave it out"
            )
        share = weight / max(weights) / math.fsum(other / max(weights) for other in weights)
        scaled[is_inside] *= share * math.fsum(averages) / before if before else 0.0
    return scaled


def _shown(value: object) -> str:
    return str(list(value)) if isinstance(value, tuple) else str(value)
