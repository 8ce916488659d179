"""Interpret the stored data of a sample: its record, and its image with the objects."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from lightning_rcnn.data.decode import UndecodableImage
from lightning_rcnn.data.decode_sample import decode_sample
from lightning_rcnn.data.decoded_image import DecodedImage
from lightning_rcnn.data.index import LABEL_LISTS
from lightning_rcnn.data.keypoints import ObjectKeypoints
from lightning_rcnn.data.pixel_format import PixelFormat
from lightning_rcnn.data.reader import RawSample, UnreadableRecordError
from lightning_rcnn.data.transforms.base import TrainingImage
from lightning_rcnn.skeleton import Skeleton
from lightning_rcnn.structures import ImageRecord, LabelLists


def interpret(
    raw: RawSample,
    pixels: PixelFormat,
    *,
    with_proposals: bool,
    skeleton: Skeleton | None,
    room: np.ndarray | None = None,
) -> tuple[ImageRecord, TrainingImage]:
    """Return the record of a sample, without annotations, and its image with the objects.

    Args:
        raw: stored data.
        pixels: format to which the image is decoded.
        with_proposals: whether the stored proposals are needed.
        skeleton: keypoints that are needed; None for none.
        room: memory for the image; see `decode_pixels`.

    Raises:
        UnreadableRecordError: the JSON is not that of a sample, or the image cannot be decoded or has another size.
    """
    content = raw.content
    try:
        left_out, clipped = (
            f"{raw.location}: {content[key]}" if content.get(key) else "" for key in ("left_out", "clipped")
        )
        record = ImageRecord(
            int(content["image_id"]),
            content["file_name"],
            content["height"],
            content["width"],
            left_out=left_out,
            clipped=clipped,
        )
        annotations = content["annotations"]
        boxes = np.array([annotation["bbox"] for annotation in annotations], np.float32).reshape(len(annotations), 4)
        labels = np.array([annotation["label"] for annotation in annotations], np.int64)
        is_crowd = np.array([annotation["iscrowd"] for annotation in annotations], np.bool_)
        negative, not_exhaustive = (tuple(content.get(key, ())) for key in LABEL_LISTS)
        keypoints = None if skeleton is None else ObjectKeypoints.read(annotations, skeleton)
    except (KeyError, TypeError, ValueError) as error:
        raise UnreadableRecordError(
            f"{raw.location}: its JSON is not that of a sample ({error!r}); pack the data set again"
        ) from error
    segmentations = [annotation.get("segmentation") for annotation in annotations]
    proposals = _stored_proposals(raw) if with_proposals else None
    image, damage = _decode(raw, record, pixels, room)
    if damage:
        record = replace(record, damage=f"{raw.location} ({record.file_name}): {damage}")
    sample = TrainingImage(
        image=image,
        boxes=boxes,
        labels=labels,
        is_crowd=is_crowd,
        segmentations=segmentations,
        proposals=proposals,
        negative_labels=negative,
        not_exhaustive_labels=not_exhaustive,
        keypoints=keypoints,
    )
    return record, sample


def label_lists(sample: TrainingImage, content: Mapping[str, Any]) -> LabelLists | None:
    """Return the lists of a federated set; None if the sample's JSON `content` has none."""
    if not any(key in content for key in LABEL_LISTS):
        return None
    return LabelLists(sample.negative_labels, sample.not_exhaustive_labels)


def _stored_proposals(raw: RawSample) -> np.ndarray:
    if raw.proposals is None:
        raise UnreadableRecordError(
            f"{raw.location}: no proposals beside the image; run `lightning-rcnn propose` again"
        )
    return raw.proposals


def _decode(raw: RawSample, record: ImageRecord, pixels: PixelFormat, room: np.ndarray | None) -> DecodedImage:
    try:
        image = decode_sample(raw, pixels, room)
    except UndecodableImage as error:
        raise UnreadableRecordError(f"{raw.location} ({record.file_name}): {error}") from error
    height, width = image.pixels.shape[-2:]
    if (height, width) != (record.height, record.width):
        sizes = f"{width} x {height} pixels, annotated as {record.width} x {record.height}"
        raise UnreadableRecordError(f"{raw.location} ({record.file_name}): {sizes}; pack the data set again")
    return image
