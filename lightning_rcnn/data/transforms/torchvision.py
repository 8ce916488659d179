"""Transforms of (image, target), such as those of torchvision.transforms.v2, in our list.

They get the image as `tv_tensors.Image` uint8 [3, h, w], and a target as torchvision's detectors have it: `boxes`
(`tv_tensors.BoundingBoxes`, xyxy), `labels` int64, `iscrowd` int64, and `masks` (`tv_tensors.Mask` uint8 [m, h, w])
where they are needed; `proposals` are boxes, too. What they draw comes from torch's, numpy's and Python's generators,
which are seeded before and put back after.

Shape letters: m objects of an image, h and w its height and width.
"""

import random as python_random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from pycocotools import mask as coco_mask
from torch import Tensor
from torchvision import tv_tensors

from lightning_rcnn.data.transforms.base import Random, TrainingImage
from lightning_rcnn.errors import InputError
from lightning_rcnn.masks.segmentation import Segmentation, as_run_length

PairTransform = Callable[[Any, dict[str, Any]], tuple[Any, dict[str, Any]]]


def apply_to_pair(transform: PairTransform, sample: TrainingImage, random: Random, needs_masks: bool) -> TrainingImage:
    """Apply a transform of (image, target).

    Masks are decoded for transforms that move boxes only: a first pass without masks shows whether one does.

    Args:
        transform: see the head of this file.
        sample: with mirroring noted; it is done first.
        random: gives the seed.
        needs_masks: whether the detector learns from masks.

    Raises:
        InputError: the transform gives back something else than an image uint8 [3, h, w] and a target.
    """
    sample = _upright(sample, needs_masks)
    name = type(transform).__name__
    seed = random.integer()
    image, target, boxes = _pair(sample)
    new_image, new_target = _run(transform, image, target, seed, name)
    _check(new_image, new_target, name)
    is_moved = new_target["boxes"] is not boxes or tuple(new_image.shape[-2:]) != tuple(image.shape[-2:])
    if not is_moved:
        return replace(sample, image=new_image.as_subclass(Tensor))
    kept = torch.arange(len(sample.boxes))
    if len(new_target["boxes"]) != len(kept):
        image, target, _ = _pair(sample)
        _, numbered = _run(transform, image, {**target, "labels": kept}, seed, name)
        kept = torch.as_tensor(numbered["labels"])
        if len(kept) != len(new_target["boxes"]):
            raise InputError(f"data.train_transforms: {name} drops boxes and keeps their labels; drop both")
    segmentations: list[Any] = [None] * len(kept)
    if needs_masks:
        image, target, _ = _pair(sample)
        _, masked = _run(transform, image, {**target, "masks": _masks(sample)}, seed, name)
        if len(masked.get("masks", ())) != len(kept):
            raise InputError(
                f"data.train_transforms: {name} gives {len(kept)} boxes and {len(masked.get('masks', ()))} masks"
            )
        present = [sample.segmentations[number] is not None for number in kept.tolist()]
        encoded = _encode(np.asarray(masked["masks"]))
        segmentations = [mask if is_there else None for mask, is_there in zip(encoded, present, strict=True)]
    proposals = sample.proposals
    if proposals is not None:
        moved = torch.as_tensor(new_target["proposals"]).numpy().astype(np.float32)
        proposals = np.concatenate([moved, proposals[:, 4:]], axis=1)
    return TrainingImage(
        image=new_image.as_subclass(Tensor),
        boxes=torch.as_tensor(new_target["boxes"]).numpy().astype(np.float32).reshape(-1, 4),
        labels=torch.as_tensor(new_target["labels"]).numpy().astype(np.int64),
        is_crowd=sample.is_crowd[kept.numpy()],
        segmentations=segmentations,
        proposals=proposals,
    )


def _pair(sample: TrainingImage) -> tuple[tv_tensors.Image, dict[str, Any], tv_tensors.BoundingBoxes]:
    height, width = sample.image.shape[-2:]

    def as_boxes(boxes: np.ndarray) -> tv_tensors.BoundingBoxes:
        return tv_tensors.BoundingBoxes(torch.from_numpy(boxes.copy()), format="XYXY", canvas_size=(height, width))

    boxes = as_boxes(sample.boxes)
    target: dict[str, Any] = {
        "boxes": boxes,
        "labels": torch.from_numpy(sample.labels.copy()),
        "iscrowd": torch.from_numpy(sample.is_crowd.astype(np.int64)),
    }
    if sample.proposals is not None:
        target["proposals"] = as_boxes(sample.proposals[:, :4])
    return tv_tensors.Image(sample.image), target, boxes


def _masks(sample: TrainingImage) -> tv_tensors.Mask:
    """Uint8 [m, h, w]; zeros for an object without a mask."""
    height, width = sample.image.shape[-2:]
    masks = np.zeros((len(sample.segmentations), height, width), np.uint8)
    for number, segmentation in enumerate(sample.segmentations):
        if segmentation is not None:
            masks[number] = coco_mask.decode(as_run_length(segmentation, height, width))
    return tv_tensors.Mask(torch.from_numpy(masks))


def _encode(masks: np.ndarray) -> list[Segmentation]:
    """Run lengths of masks uint8 [m, h, w]."""
    encoded = coco_mask.encode(np.asfortranarray(masks.transpose(1, 2, 0)))
    return [{"size": rle["size"], "counts": rle["counts"].decode("ascii")} for rle in encoded]


def _upright(sample: TrainingImage, needs_masks: bool) -> TrainingImage:
    """Do the mirroring that was noted."""
    if not (sample.is_mirrored or sample.is_upside_down):
        return sample
    height, width = sample.image.shape[-2:]
    axes = [axis for axis, is_flipped in ((-2, sample.is_upside_down), (-1, sample.is_mirrored)) if is_flipped]

    def mirrored(boxes: np.ndarray) -> np.ndarray:
        x1, y1, x2, y2 = boxes[:, :4].T
        if sample.is_mirrored:
            x1, x2 = width - x2, width - x1
        if sample.is_upside_down:
            y1, y2 = height - y2, height - y1
        return np.concatenate([np.stack([x1, y1, x2, y2], axis=1), boxes[:, 4:]], axis=1)

    segmentations = sample.segmentations
    if needs_masks:
        encoded = _encode(np.flip(np.asarray(_masks(sample)), tuple(axes)))
        segmentations = [None if given is None else mask for given, mask in zip(segmentations, encoded, strict=True)]
    return TrainingImage(
        sample.image.flip(axes),
        mirrored(sample.boxes),
        sample.labels,
        sample.is_crowd,
        segmentations,
        None if sample.proposals is None else mirrored(sample.proposals),
    )


def _run(transform: PairTransform, image: Any, target: dict[str, Any], seed: int, name: str) -> tuple[Any, Any]:
    with _seeded(seed):
        result = transform(image, target)
    if not isinstance(result, tuple) or len(result) != 2:
        raise InputError(f"data.train_transforms: {name} does not return (image, target)")
    return result


def _check(image: Any, target: Any, name: str) -> None:
    if not isinstance(image, Tensor) or image.dtype != torch.uint8 or image.ndim != 3 or image.shape[0] != 3:
        kind = f"{image.dtype} {list(image.shape)}" if isinstance(image, Tensor) else type(image).__name__
        raise InputError(
            f"data.train_transforms: {name} gives an image of {kind}; it has to stay uint8 [3, height, width]: "
            "normalization is the model's"
        )
    if not isinstance(target, dict) or not {"boxes", "labels"} <= target.keys():
        raise InputError(f"data.train_transforms: {name} gives a target without boxes and labels")


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """Seed all generators that a transform may draw from, and put them back."""
    numpy_state, python_state = np.random.get_state(), python_random.getstate()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed % 2**63)
        np.random.seed(seed % 2**32)
        python_random.seed(seed)
        try:
            yield
        finally:
            np.random.set_state(numpy_state)
            python_random.setstate(python_state)
