"""Masks for transforms of (image, target), some at a time: those of all objects as large as the image take gigabytes.

Shape letters: m objects of an image, of which k are a group; h and w its height and width.
"""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from pycocotools import mask as coco_mask
from torch import Tensor
from torchvision import tv_tensors

from lightning_rcnn.data.transforms.base import TrainingImage
from lightning_rcnn.data.transforms.view import displayed_crops, displayed_size
from lightning_rcnn.errors import InputError
from lightning_rcnn.masks.crops import crop_edges
from lightning_rcnn.masks.segmentation import Segmentation
from lightning_rcnn.plural import plural

RunWithMasks = Callable[[TrainingImage, Tensor], tuple[Tensor, dict[str, Any]]]
"""Runs a transform, from the same seed each time, on some objects of the image and on masks uint8 [k, h, w]."""

MAX_PIXELS = 1 << 23
"""Pixels of the masks of a group, of which torchvision makes several copies of floats."""
LEAST_MASKS = 16
"""Masks of a group, also where these are more pixels: with each group the image passes again, and a change of its
colors takes as long as a dozen masks or more."""
MOST_PIXELS = 1 << 27
"""Pixels of a group up to which that holds: half a gigabyte as floats, as 11 masks of 12 megapixels are."""


def moved_masks(
    run: RunWithMasks,
    sample: TrainingImage,
    recorded: TrainingImage,
    image: Tensor,
    boxes: Tensor,
    kept: np.ndarray,
    name: str,
) -> list[Segmentation]:
    """Return the masks of the objects that a transform keeps, as it moves them.

    Many masks pass in groups: with the boxes of all objects, on which draws may depend, or, if the transform drops
    objects, with the boxes of the group. What comes out must be what came out without masks. Only masks of a transform
    that does neither pass all at once.

    Args:
        run: runs the transform.
        sample: image, upright.
        recorded: the same with its masks as stored.
        image, boxes: what came out without masks; boxes [n, 4].
        kept: numbers of the n objects in the sample.
        name: name of the transform, for messages.

    Raises:
        InputError: the masks that come out do not fit to the boxes and the image.
    """
    number = len(sample.boxes)
    height, width = displayed_size(recorded)
    area = height * width
    size = max(1, MAX_PIXELS // area, min(LEAST_MASKS, MOST_PIXELS // area))
    groups = [np.arange(start, min(start + size, number)) for start in range(0, number, size)]
    if len(groups) > 1:
        if np.array_equal(kept, np.arange(number)):
            whole = (run(sample, _masks(recorded, group)) for group in groups)
            if (moved := _in_groups(whole, [(boxes, len(group)) for group in groups], image)) is not None:
                return moved
        if (np.diff(kept) > 0).all():
            parts = (run(sample.with_objects(group), _masks(recorded, group)) for group in groups)
            expected = [boxes[torch.from_numpy(np.isin(kept, group))] for group in groups]
            if (moved := _in_groups(parts, [(part, len(part)) for part in expected], image)) is not None:
                return moved
    _, target = run(sample, _masks(recorded, np.arange(number)))
    return _encode(_checked_masks(target, image, boxes, name))


def _in_groups(
    runs: Iterator[tuple[Tensor, dict[str, Any]]], expected: list[tuple[Tensor, int]], image: Tensor
) -> list[Segmentation] | None:
    """Return the masks of all groups; None if a run fails or gives another image, other boxes or another number."""
    encoded: list[Segmentation] = []
    try:
        for (moved_image, target), (boxes, number) in zip(runs, expected, strict=True):
            masks = target.get("masks")
            is_same = torch.equal(moved_image, image) and torch.equal(target["boxes"], boxes)
            if not is_same or masks is None or masks.shape != (number, *image.shape[1:]):
                return None
            encoded += _encode(_as_bytes(masks))
    except InputError:
        return None
    return encoded


def _checked_masks(target: dict[str, Any], image: Tensor, boxes: Tensor, name: str) -> np.ndarray:
    masks = target.get("masks")
    if masks is None or len(masks) != len(boxes):
        number = 0 if masks is None else len(masks)
        raise InputError(
            f"data.train_transforms: {name} gives {plural(len(boxes), 'box')} and {plural(number, 'mask')}; drop "
            "both or none"
        )
    if masks.shape[1:] != image.shape[1:]:
        sizes = f"masks of {list(masks.shape[1:])} for an image of {list(image.shape[1:])}"
        raise InputError(f"data.train_transforms: {name} gives {sizes}; transform masks like the image")
    if not torch.equal(target["boxes"], boxes):
        raise InputError(
            f"data.train_transforms: {name} gives different boxes from the same seed; "
            "draw from torch's, numpy's or Python's global generator"
        )
    return _as_bytes(masks)


def _as_bytes(masks: Any) -> np.ndarray:
    return np.asarray(masks).astype(np.uint8, copy=False)


def _masks(sample: TrainingImage, group: np.ndarray) -> tv_tensors.Mask:
    """Return masks of the displayed frame, uint8 [k, h, w]; zeros for an object without a mask."""
    masks = np.zeros((len(group), *displayed_size(sample)), np.uint8)
    present = [(row, mask) for row, number in enumerate(group) if (mask := sample.segmentations[number]) is not None]
    crops = displayed_crops(sample, [mask for _, mask in present])
    for (row, _), crop in zip(present, crops, strict=True):
        left, top, right, bottom = crop_edges(crop)
        masks[row, top:bottom, left:right] = crop.pixels
    return tv_tensors.Mask(torch.from_numpy(masks))


def _encode(masks: np.ndarray) -> list[Segmentation]:
    """Return the run-length encodings of masks uint8 [m, h, w]."""
    encoded = coco_mask.encode(np.asfortranarray(masks.transpose(1, 2, 0)))
    return [{"size": rle["size"], "counts": rle["counts"].decode("ascii")} for rle in encoded]
