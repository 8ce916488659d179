"""Masks of samples to those of one batch, in sizes from short lists, so that shapes recur."""

from collections.abc import Sequence
from typing import cast

import numpy as np
import torch

from lightning_rcnn.data.segmentations import ImageBitmaps, ImageMasks, ImageOutlines
from lightning_rcnn.structures import Bitmaps, MaskForm, Masks, Polygons

LEAST_BYTES = 1 << 14
"""The shortest buffer of a batch's bitmaps; longer ones are powers of two."""
LEAST_EDGES = 32
"""The fewest edges to which outlines are padded; more are powers of two."""


def collate_masks(images: Sequence[ImageMasks | None], num_objects: int, mask_form: MaskForm) -> Masks | None:
    """Bring the masks of N images together.

    Args:
        images: in the form `mask_form`; None for an empty slot.
        num_objects: M, to which each image's objects are padded.
        mask_form: the form; "none" gives None.
    """
    if mask_form == "bitmaps":
        return collate_bitmaps(cast(Sequence[ImageBitmaps | None], images), num_objects)
    if mask_form == "polygons":
        return collate_outlines(cast(Sequence[ImageOutlines | None], images), num_objects)
    return None


def collate_bitmaps(images: Sequence[ImageBitmaps | None], num_objects: int) -> Bitmaps:
    """Put the bits of N images into one buffer; what is behind the last crop is 0."""
    sizes = np.zeros((len(images), num_objects, 2), np.int64)
    boxes = np.zeros((len(images), num_objects, 4), np.float32)
    pieces = [np.zeros(0, np.uint8)]
    for slot, image in enumerate(images):
        if image is not None:
            sizes[slot, : len(image.sizes)] = image.sizes
            boxes[slot, : len(image.boxes)] = image.boxes
            pieces.append(image.bits)
    num_bytes = -(-sizes.prod(axis=-1) // 8)
    first_byte = np.cumsum(num_bytes).reshape(num_bytes.shape) - num_bytes
    first_byte[num_bytes == 0] = 0
    bits = np.zeros(power_of_two(int(num_bytes.sum()), LEAST_BYTES), np.uint8)
    bits[: num_bytes.sum()] = np.concatenate(pieces)
    return Bitmaps(*map(torch.from_numpy, (bits, first_byte, sizes, boxes)))


def collate_outlines(images: Sequence[ImageOutlines | None], num_objects: int) -> Polygons:
    """Pad the outlines of N images to E edges an object."""
    present = [(slot, image) for slot, image in enumerate(images) if image is not None]
    most = max((int(image.counts.max(initial=0)) for _, image in present), default=0)
    edges = np.zeros((len(images), num_objects, power_of_two(most, LEAST_EDGES), 4), np.float32)
    for slot, image in present:
        is_edge = np.arange(edges.shape[2]) < image.counts[:, None]
        edges[slot, : len(image.counts)][is_edge] = image.edges
    return Polygons(torch.from_numpy(edges))


def power_of_two(most: int, least: int) -> int:
    """The first power of two from `least`, which is one, on that is no less than `most`."""
    return max(least, 1 << max(0, most - 1).bit_length())
