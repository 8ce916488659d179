"""Run the list of transforms on a sample, with the partners that mixing transforms need."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import NamedTuple, Protocol

from lightning_rcnn.data.reader import UnreadableRecordError
from lightning_rcnn.data.transforms.base import Random, TrainingImage, Transform
from lightning_rcnn.data.transforms.color_transform import with_colors
from lightning_rcnn.data.transforms.mixing import MixingTransform, mask_readers
from lightning_rcnn.data.transforms.torchvision import PairTransform, apply_to_pair
from lightning_rcnn.masks.crops import UnreadableMaskError, decode_masks, polygon_points
from lightning_rcnn.structures import NO_IMAGE, ImageRecord

RandomAt = Callable[[int], Random]
"""Function from the position of a transform in its list to its random numbers."""


class Loaded(NamedTuple):
    """A decoded sample.

    Attributes:
        number: number in the data set.
        record: metadata.
        image: image with its annotations.
    """

    number: int
    record: ImageRecord
    image: TrainingImage


class SampleSource(Protocol):
    """Reads and decodes samples by number."""

    def __len__(self) -> int:
        """Return the number of samples."""

    def load(self, number: int) -> Loaded:
        """Read and decode a sample.

        Raises:
            UnreadableRecordError: it cannot be read.
            InputError: the run must stop.
        """

    def location(self, number: int) -> str:
        """Return the location of a sample, for messages."""


class TransformList:
    """A list of transforms with access to the other samples.

    Args:
        transforms: transforms in order.
        trains_on_masks: whether the detector trains on masks.
        source: source of the partners.
    """

    def __init__(
        self, transforms: Sequence[Transform | PairTransform], trains_on_masks: bool, source: SampleSource
    ) -> None:
        self._transforms = tuple(transforms)
        self._source = source
        # Masks must follow the image up to the last transform that reads them.
        self._needs_masks = [
            trains_on_masks or bool(mask_readers(transforms[position:])) for position in range(len(transforms))
        ]

    def __call__(self, loaded: Loaded, random_at: RandomAt) -> Loaded:
        """Transform a sample; its record names its partners.

        Raises:
            UnreadableRecordError: a mask of the sample cannot be decoded.
        """
        return self._transformed(loaded, random_at, len(self._transforms))

    def _transformed(self, loaded: Loaded, random_at: RandomAt, end: int) -> Loaded:
        """Apply the transforms before the position `end`."""
        try:
            for position, transform in enumerate(self._transforms[:end]):
                random = random_at(position)
                if not isinstance(transform, Transform) or transform.needs_pixels:
                    loaded = loaded._replace(image=with_colors(loaded.image))
                if isinstance(transform, MixingTransform):
                    loaded = self._mixed(loaded, transform, position, random)
                elif isinstance(transform, Transform):
                    loaded = loaded._replace(image=transform(loaded.image, random))
                else:
                    image = apply_to_pair(transform, loaded.image, random, self._needs_masks[position])
                    loaded = loaded._replace(image=image)
        except UnreadableMaskError as error:
            raise UnreadableRecordError(self._message(loaded, error)) from error
        return loaded

    def _mixed(self, loaded: Loaded, transform: MixingTransform, position: int, random: Random) -> Loaded:
        """Mix partners into a sample; if one cannot be read, the sample goes without, and its record says so."""
        try:
            partners = self._partners(loaded.number, transform, position, random)
            image = self._mix(loaded, transform, partners, random)
            records = [record for partner in partners for record in (partner.record, *partner.record.partners)]
        except _UnreadablePartnerError as error:
            image = self._mix(loaded, transform, [], random)
            records = [ImageRecord(NO_IMAGE, file_name="", height=0, width=0, problem=str(error))]
        record = replace(loaded.record, partners=(*loaded.record.partners, *records))
        return loaded._replace(record=record, image=image)

    def _partners(self, number: int, transform: MixingTransform, position: int, random: Random) -> list[Loaded]:
        """Read the partners of a sample and apply the transforms before this one to them."""
        others = max(1, len(self._source) - 1)
        draws = [random.integer() % others for _ in range(transform.num_partners(random))]
        partners = []
        for index, draw in enumerate(draws):
            partner = draw + 1 if draw >= number and len(self._source) > 1 else draw  # no partner of itself
            try:
                loaded = self._source.load(partner)
                partner_image = self._transformed(loaded, partial(random.branch, index), position)
                partners.append(partner_image._replace(image=with_colors(partner_image.image)))
            except UnreadableRecordError as error:
                raise _UnreadablePartnerError(str(error)) from error
        return partners

    def _mix(
        self, loaded: Loaded, transform: MixingTransform, partners: Sequence[Loaded], random: Random
    ) -> TrainingImage:
        try:
            return transform.mix(loaded.image, [partner.image for partner in partners], random)
        except UnreadableMaskError:
            for partner in partners:
                if (problem := _mask_error(partner.image)) is not None:
                    raise _UnreadablePartnerError(self._message(partner, problem)) from problem
            raise

    def _message(self, loaded: Loaded, error: UnreadableMaskError) -> str:
        return f"{self._source.location(loaded.number)}: a mask cannot be read ({error}); pack the data set again"


class _UnreadablePartnerError(Exception):
    """Raised when a partner cannot be read; the message is that of an unreadable record."""


def _mask_error(image: TrainingImage) -> UnreadableMaskError | None:
    """Return the error of the first mask that cannot be decoded."""
    try:
        for mask in image.segmentations:
            if isinstance(mask, list):
                polygon_points(mask)
        for _ in decode_masks([mask for mask in image.segmentations if mask is not None], *image.image.shape[-2:]):
            pass
    except UnreadableMaskError as error:
        return error
    return None
