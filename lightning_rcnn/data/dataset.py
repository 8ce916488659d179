"""The dataset that the loader's workers run: read, decode, transform and collate a requested batch."""

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from lightning_rcnn.data.batch_images import BatchImages, RenderedImages
from lightning_rcnn.data.batch_memory import BatchMemory
from lightning_rcnn.data.collate import (
    Sample,
    collate_images,
    collate_keypoints,
    collate_label_lists,
    collate_proposals,
    collate_targets,
    empty_sample,
)
from lightning_rcnn.data.current_samples import CurrentSamples
from lightning_rcnn.data.decoded_batch import LoadedBatch
from lightning_rcnn.data.geometry import AxisAlignedMap, clip_and_keep
from lightning_rcnn.data.interpret import interpret, label_lists
from lightning_rcnn.data.keypoints import ObjectKeypoints
from lightning_rcnn.data.pixel_format import RGB, PixelFormat
from lightning_rcnn.data.plan import EMPTY_SLOT, entry_number
from lightning_rcnn.data.reader import RawSample, SampleReader, UnreadableRecordError
from lightning_rcnn.data.resize import ResizeRule
from lightning_rcnn.data.segmentations import ImageMasks, crop_bitmaps, trace_outlines
from lightning_rcnn.data.slots import SlotLayout
from lightning_rcnn.data.stored_proposals import map_proposals
from lightning_rcnn.data.transforms.apply import Loaded, TransformList
from lightning_rcnn.data.transforms.base import Random, TrainingImage, Transform
from lightning_rcnn.data.transforms.pipeline import size_settings
from lightning_rcnn.data.transforms.torchvision import PairTransform
from lightning_rcnn.errors import InputError
from lightning_rcnn.masks.crops import UnreadableMaskError
from lightning_rcnn.skeleton import Skeleton
from lightning_rcnn.structures import Batch, MaskForm

Purpose = Literal["training", "evaluation", "prediction"]
Room = np.ndarray | None
"""Memory in which an image may be decoded; see `BatchImages.room`."""
Place = Callable[[TrainingImage, ResizeRule], tuple[tuple[int, int], AxisAlignedMap]]
"""Function that puts an image into its slot; see `BatchImages.place`."""


class BatchRequest(NamedTuple):
    """A planned batch of one rank.

    Attributes:
        epoch: planned epoch, which seeds the transforms.
        scale: index of the resize rule.
        shape: padded (height, width) in pixels.
        samples: sample numbers; `EMPTY_SLOT` where the batch is short.
        occurrences: number of each sample's occurrence in the epoch, which seeds the transforms, too; by default 0.
    """

    epoch: int
    scale: int
    shape: tuple[int, int]
    samples: tuple[int, ...]
    occurrences: tuple[int, ...] = ()

    def entries(self) -> list[tuple[int, int]]:
        """Return (sample number, occurrence) of each slot."""
        return list(zip(self.samples, self.occurrences or (0,) * len(self.samples), strict=True))


class DetectionDataset(Dataset[LoadedBatch | InputError]):
    """A data set whose items are whole batches, because the plan has already formed them.

    A record that cannot be read or decoded becomes an empty slot, and `ImageRecord.problem` says why. An image that
    decodes although its file is damaged is used, and `ImageRecord.damage` says what is wrong. An error that must stop
    the run, such as a shard that cannot be fetched, is returned as an `InputError` for the loader to raise: torch would
    wrap an error raised in a worker into a traceback of many lines.

    Transforms may read other samples and mix them in (`MixingTransform`); `ImageRecord.partners` names them.

    Objects marked difficult are trained on like others; crowds are marked in the targets. Boxes are clipped to the
    image after the transforms, and boxes with nothing left are dropped (`MIN_BOX_EDGE`).

    Args:
        reader: reader of samples by number.
        rules: resize rules; a request names one by index.
        purpose: "training" transforms the images and gives targets. "evaluation" gives targets, and puts the
            annotations into the records, for scoring masks. "prediction" gives neither.
        transforms: transforms of training images, in order.
        seed: seed of the transforms.
        mask_form: form of the masks in targets.
        proposal_limit: number of stored proposals per image; 0 for a detector that makes its own.
        has_label_lists: whether targets have the lists of absent labels and of those that are not exhaustive.
        skeleton: keypoints that targets have; None for a detector that requests none.
        pixels: format to which the images are decoded.
        images: form of the images of a batch.

    Attributes:
        current_samples: sample that each worker reads now; a loader with workers sets one with a slot for each.
        memory: shared memory of the workers; a loader with workers sets it.
    """

    def __init__(
        self,
        reader: SampleReader,
        rules: Sequence[ResizeRule],
        purpose: Purpose,
        transforms: Sequence[Transform | PairTransform] = (),
        seed: int = 0,
        mask_form: MaskForm = "none",
        proposal_limit: int = 0,
        has_label_lists: bool = False,
        skeleton: Skeleton | None = None,
        pixels: PixelFormat = RGB,
        images: type[BatchImages] = RenderedImages,
    ) -> None:
        self.reader = reader
        self.rules = tuple(rules)
        self.purpose = purpose
        self.transforms, self.seed = tuple(transforms), seed
        self._has_planned_sizes = bool(size_settings(transforms))
        self.mask_form: MaskForm = mask_form if purpose != "prediction" else "none"
        self.proposal_limit = proposal_limit
        self.has_label_lists = has_label_lists
        self.skeleton = skeleton if purpose != "prediction" else None
        self.pixels = pixels
        self._images = images
        self.current_samples = CurrentSamples(num_workers=0)
        self.memory = BatchMemory(num_workers=0, num_bytes=0)

    def __len__(self) -> int:
        """Return the number of samples, not of batches, which the plan forms."""
        return len(self.reader)

    def __getitem__(self, request: BatchRequest) -> LoadedBatch | InputError:
        images = self._images(self.layout(len(request.samples), request.shape), self.memory)
        try:
            samples = [
                self._sample(number, occurrence, request, images.room, partial(images.place, slot))
                for slot, (number, occurrence) in enumerate(request.entries())
            ]
            return images.finish(self._collated(samples, images.slots))
        except BaseException as error:
            images.release()
            if isinstance(error, InputError):
                return error
            raise

    def _collated(self, samples: Sequence[Sample], images: Tensor) -> Batch:
        batch = collate_images(samples, images)
        if self.proposal_limit:
            batch = replace(batch, proposals=collate_proposals(samples, self.proposal_limit))
        if self.purpose == "prediction":
            return batch
        targets = collate_targets(samples, self.mask_form)
        if self.has_label_lists:
            negative, not_exhaustive = collate_label_lists(samples)
            targets = targets._replace(negative_labels=negative, not_exhaustive_labels=not_exhaustive)
        if self.skeleton is not None:
            keypoints = collate_keypoints(samples, targets.labels.shape[1], len(self.skeleton))
            targets = targets._replace(keypoints=keypoints)
        return replace(batch, targets=targets)

    def layout(self, batch_size: int, shape: tuple[int, int]) -> SlotLayout:
        """Return the layout of the rendered images of a batch with padded (height, width) `shape`."""
        is_float = self.rules[0].method == "bilinear" or not self.pixels.is_eight_bit
        return SlotLayout(batch_size, self.pixels.channels, shape, torch.float32 if is_float else torch.uint8)

    def image_bytes(self, batch_size: int, shape: tuple[int, int], areas: np.ndarray) -> int:
        """Return the bytes of the images of the largest batch.

        Args:
            batch_size: number of slots.
            shape: largest padded (height, width) in pixels.
            areas: pixels of each image of the data set, int64.
        """
        return self._images.num_bytes(self.layout(batch_size, shape), areas)

    def load(self, number: int) -> Loaded:
        """Read and decode a sample that is mixed into another; see `SampleSource`."""
        self.current_samples.note(number)
        raw = self.reader.read(number)
        return Loaded(number, *interpret(raw, self.pixels, with_proposals=False, skeleton=self.skeleton))

    def location(self, number: int) -> str:
        """Return the location of a sample, for messages."""
        return self.reader.location(number)

    def name(self, number: int) -> str:
        """Return shard, key and, if it can be read, the file name of a sample, for messages."""
        location = self.reader.location(number)
        with contextlib.suppress(UnreadableRecordError, InputError, KeyError):
            location += f" ({self.reader.read(number).content['file_name']})"
        return location

    def _sample(self, number: int, occurrence: int, request: BatchRequest, room: Room, place: Place) -> Sample:
        if number == EMPTY_SLOT:
            return empty_sample()
        self.current_samples.note(number)
        try:
            return self._prepare(self.reader.read(number), number, occurrence, request, room, place)
        except UnreadableRecordError as error:
            return empty_sample(problem=str(error))

    def _prepare(
        self, raw: RawSample, number: int, occurrence: int, request: BatchRequest, room: Room, place: Place
    ) -> Sample:
        rule = self.rules[request.scale]
        with_proposals = self.proposal_limit > 0
        record, sample = interpret(raw, self.pixels, with_proposals=with_proposals, skeleton=self.skeleton, room=room)
        size = rule.size(record.height, record.width)
        exceeds = any(edge > limit for edge, limit in zip(size, request.shape, strict=True))
        if exceeds and not self._has_planned_sizes:  # then the batch was planned by another size
            raise UnreadableRecordError(
                f"{raw.location} ({record.file_name}): its size differs from the index; pack the data set again"
            )
        transforms = TransformList(self.transforms, self.mask_form != "none", source=self)
        random_at = partial(Random, self.seed, request.epoch, entry_number(number, occurrence))
        _, record, sample = transforms(Loaded(number, record, sample), random_at)
        rendered_size, to_resized = place(sample, rule)
        boxes, keep = clip_and_keep(to_resized.boxes(sample.boxes), *rendered_size)
        masks = None
        if self.mask_form != "none":
            try:
                masks = _read_masks(raw, sample, np.flatnonzero(keep), to_resized, self.mask_form)
            except UnreadableRecordError:
                # In evaluation masks serve only the losses: the image is scored, and has no part in the mask loss.
                if self.purpose == "training":
                    raise
        proposals = None
        if sample.proposals is not None:
            proposals = map_proposals(sample.proposals, to_resized, rendered_size, self.proposal_limit)
        if self.purpose == "evaluation":
            record = replace(
                record, annotations=raw.content["annotations"], label_lists=label_lists(sample, raw.content)
            )
        return Sample(
            size=rendered_size,
            boxes=boxes[keep],
            labels=sample.labels[keep],
            is_crowd=sample.is_crowd[keep],
            record=record,
            masks=masks,
            proposals=proposals,
            negative_labels=sample.negative_labels,
            not_exhaustive_labels=sample.not_exhaustive_labels,
            keypoints=None
            if sample.keypoints is None
            else _resized_keypoints(sample.keypoints, to_resized, *rendered_size)[keep],
        )


def _resized_keypoints(keypoints: ObjectKeypoints, to_resized: AxisAlignedMap, height: int, width: int) -> np.ndarray:
    """Return keypoints in the resized frame, float32 [m, J, 3]; those outside the image are not labeled."""
    return keypoints.mapped(to_resized).inside((0, 0, width, height)).points


def _read_masks(
    raw: RawSample, sample: TrainingImage, kept: np.ndarray, to_resized: AxisAlignedMap, mask_form: MaskForm
) -> ImageMasks:
    """Read the masks of the objects with the indices `kept`; crowds get none, because they are never positives."""
    read = crop_bitmaps if mask_form == "bitmaps" else trace_outlines
    segmentations = [None if sample.is_crowd[index] else sample.segmentations[index] for index in kept]
    try:
        height, width = sample.image.shape[-2:]
        return read(segmentations, height, width, to_resized, sample.window)
    except UnreadableMaskError as error:
        raise _unreadable_mask(raw, error) from error


def _unreadable_mask(raw: RawSample, error: UnreadableMaskError) -> UnreadableRecordError:
    return UnreadableRecordError(f"{raw.location}: a mask cannot be read ({error}); pack the data set again")
