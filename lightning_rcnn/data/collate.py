"""Collate samples into a batch of fixed shapes: here raggedness ends.

An empty slot fills up a short batch or replaces a record that cannot be read. It has the image id `NO_IMAGE`, the size
0 x 0, a black image and no targets.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from lightning_rcnn.data.collate_masks import collate_masks, round_up_to_power_of_two
from lightning_rcnn.data.segmentations import ImageMasks
from lightning_rcnn.data.slots import clear_padding
from lightning_rcnn.structures import NO_IMAGE, PADDING_LABEL, Batch, ImageRecord, MaskForm, Proposals, Targets

MIN_OBJECTS = 8
"""Smallest number of objects to which an image's targets are padded; larger numbers are powers of two."""


class Sample(NamedTuple):
    """One image in the resized frame.

    Attributes:
        size: (height, width) in pixels; (0, 0) in an empty slot. The pixels are in the images of the batch already.
        boxes: float32 [m, 4].
        labels: int64 [m].
        is_crowd: bool [m]. These three are numpy arrays, which are faster than torch tensors when they are small.
        record: the data that stay on the host.
        masks: masks of the m objects; None if not requested, and in an empty slot.
        proposals: float32 [p, 5], boxes and scores, best first; None if not requested, and in an empty slot.
        negative_labels, not_exhaustive_labels: see `Targets`.
        keypoints: float32 [m, J, 3]; None if not requested, and in an empty slot.
    """

    size: tuple[int, int]
    boxes: np.ndarray
    labels: np.ndarray
    is_crowd: np.ndarray
    record: ImageRecord
    masks: ImageMasks | None = None
    proposals: np.ndarray | None = None
    negative_labels: Sequence[int] = ()
    not_exhaustive_labels: Sequence[int] = ()
    keypoints: np.ndarray | None = None


def empty_sample(problem: str = "") -> Sample:
    """Return an empty slot; `problem` says why a record could not be read."""
    record = ImageRecord(image_id=NO_IMAGE, file_name="", height=0, width=0, problem=problem)
    return Sample((0, 0), np.zeros((0, 4), np.float32), np.zeros(0, np.int64), np.zeros(0, np.bool_), record)


def collate_images(samples: Sequence[Sample], images: Tensor) -> Batch:
    """Pad the images of N samples, which are in their slots already, on the right and at the bottom.

    Args:
        samples: N samples.
        images: their slots, [N, C, H, W].

    Returns:
        A batch without targets.
    """
    sizes = torch.zeros((len(samples), 2), dtype=torch.int64)
    for slot, size, sample in zip(images, sizes, samples, strict=True):
        height, width = sample.size
        clear_padding(slot, height, width)
        size[0], size[1] = height, width
    ids = torch.tensor([sample.record.image_id for sample in samples], dtype=torch.int64)
    return Batch(images, sizes, ids, None, tuple(sample.record for sample in samples))


def collate_targets(samples: Sequence[Sample], mask_form: MaskForm = "none") -> Targets:
    """Pad the ground truth of N samples to M objects; few values of M occur, so shapes recur.

    Args:
        samples: N samples.
        mask_form: form of their masks.
    """
    padded = round_up_to_power_of_two(max(len(sample.labels) for sample in samples), MIN_OBJECTS)
    boxes = np.zeros((len(samples), padded, 4), np.float32)
    labels = np.full((len(samples), padded), PADDING_LABEL, np.int64)
    is_crowd = np.zeros((len(samples), padded), np.bool_)
    for slot, sample in enumerate(samples):
        num = len(sample.labels)
        boxes[slot, :num] = sample.boxes
        labels[slot, :num] = sample.labels
        is_crowd[slot, :num] = sample.is_crowd
    masks = collate_masks([sample.masks for sample in samples], padded, mask_form)
    return Targets(torch.from_numpy(boxes), torch.from_numpy(labels), torch.from_numpy(is_crowd), masks)


def collate_keypoints(samples: Sequence[Sample], num_objects: int, num_keypoints: int) -> Tensor:
    """Pad the keypoints of N samples to M objects of J keypoints: float32 [N, M, J, 3]."""
    keypoints = np.zeros((len(samples), num_objects, num_keypoints, 3), np.float32)
    for slot, sample in enumerate(samples):
        if sample.keypoints is not None:
            keypoints[slot, : len(sample.keypoints)] = sample.keypoints
    return torch.from_numpy(keypoints)


def collate_label_lists(samples: Sequence[Sample]) -> tuple[Tensor, Tensor]:
    """Pad the absent labels and the labels that are not exhaustive of N samples, both to V; few values of V occur."""
    lists = [[sample.negative_labels for sample in samples], [sample.not_exhaustive_labels for sample in samples]]
    longest = max(len(labels) for of_kind in lists for labels in of_kind)
    padded = np.full((2, len(samples), round_up_to_power_of_two(longest, MIN_OBJECTS)), PADDING_LABEL, np.int64)
    for rows, of_kind in zip(padded, lists, strict=True):
        for row, labels in zip(rows, of_kind, strict=True):
            row[: len(labels)] = labels
    return torch.from_numpy(padded[0]), torch.from_numpy(padded[1])


def collate_proposals(samples: Sequence[Sample], limit: int) -> Proposals:
    """Pad the proposals of N samples to `limit` per image; no sample has more."""
    boxes = np.zeros((len(samples), limit, 4), np.float32)
    scores = np.full((len(samples), limit), -np.inf, np.float32)
    for slot, sample in enumerate(samples):
        if sample.proposals is not None:
            num = len(sample.proposals)
            boxes[slot, :num] = sample.proposals[:, :4]
            scores[slot, :num] = sample.proposals[:, 4]
    return Proposals(torch.from_numpy(boxes), torch.from_numpy(scores), torch.from_numpy(scores > -np.inf))
