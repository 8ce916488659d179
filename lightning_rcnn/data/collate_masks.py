"""Collate the masks of samples into those of a batch; few sizes occur, so shapes recur."""

from collections.abc import Sequence
from typing import cast

import numpy as np
import torch

from lightning_rcnn.data.segmentations import ImageBitmaps, ImageMasks, ImageOutlines
from lightning_rcnn.structures import Bitmaps, MaskForm, Masks, Polygons

MIN_BUFFER_BYTES = 1 << 14
"""Smallest buffer of a batch's bitmaps; larger buffers are powers of two."""
MIN_EDGES = 32
"""Smallest number of edges to which outlines are padded; larger numbers are powers of two."""


def collate_masks(images: Sequence[ImageMasks | None], num_objects: int, mask_form: MaskForm) -> Masks | None:
    """Collate the masks of N images.

    Args:
        images: masks of each image in the form `mask_form`; None for an empty slot.
        num_objects: M, the padded number of objects per image.
        mask_form: form of the masks; "none" gives None.
    """
    if mask_form == "bitmaps":
        return collate_bitmaps(cast(Sequence[ImageBitmaps | None], images), num_objects)
    if mask_form == "polygons":
        return collate_outlines(cast(Sequence[ImageOutlines | None], images), num_objects)
    return None


def collate_bitmaps(images: Sequence[ImageBitmaps | None], num_objects: int) -> Bitmaps:
    """Put the bits of N images into one buffer, padded with zeros after the last crop."""
    sizes = np.zeros((len(images), num_objects, 2), np.int64)
    boxes = np.zeros((len(images), num_objects, 4), np.float32)
    crops = [np.zeros(0, np.uint8)]
    for slot, image in enumerate(images):
        if image is not None:
            sizes[slot, : len(image.sizes)] = image.sizes
            boxes[slot, : len(image.boxes)] = image.boxes
            crops.append(image.bits)
    num_bytes = -(-sizes.prod(axis=-1) // 8)
    first_byte = np.cumsum(num_bytes).reshape(num_bytes.shape) - num_bytes
    first_byte[num_bytes == 0] = 0
    bits = np.zeros(round_up_to_power_of_two(int(num_bytes.sum()), MIN_BUFFER_BYTES), np.uint8)
    bits[: num_bytes.sum()] = np.concatenate(crops)
    return Bitmaps(*map(torch.from_numpy, (bits, first_byte, sizes, boxes)))


def collate_outlines(images: Sequence[ImageOutlines | None], num_objects: int) -> Polygons:
    """Pad the outlines of N images to E edges per object."""
    present = [(slot, image) for slot, image in enumerate(images) if image is not None]
    max_edges = max((int(image.counts.max(initial=0)) for _, image in present), default=0)
    edges = np.zeros((len(images), num_objects, round_up_to_power_of_two(max_edges, MIN_EDGES), 4), np.float32)
    for slot, image in present:
        is_edge = np.arange(edges.shape[2]) < image.counts[:, None]
        edges[slot, : len(image.counts)][is_edge] = image.edges
    return Polygons(torch.from_numpy(edges))


def round_up_to_power_of_two(value: int, minimum: int) -> int:
    """Round `value` up to a power of two, at least `minimum`."""
    return max(minimum, 1 << max(0, value - 1).bit_length())
