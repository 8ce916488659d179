"""Apply transforms of (image, target), such as those of torchvision.transforms.v2, in our list.

A transform gets the image as `tv_tensors.Image` uint8 [3, h, w], of other pixel formats uint8 [C, h, w] or float32 from
0 to 1, and a target in the form of torchvision's detectors:
`boxes` (`tv_tensors.BoundingBoxes`, xyxy), `labels` int64, `iscrowd` int64, `number` int64, 0..m-1, and `masks`
(`tv_tensors.Mask` uint8 [m, h, w]) if they are needed; `proposals` are boxes too. For a detector of keypoints there are
`keypoints` and `keypoint_corners` (see `pair_keypoints.py`). Random numbers come from torch's,
numpy's and Python's generators, which are seeded before and restored after. A transform may run several times on a
sample from the same seed: with numbers as labels if it drops boxes, and with masks if it moves boxes, some masks at a
time (see `pair_masks.py`).

Shape letters: m objects of an image, h and w its height and width.
"""

import random as python_random
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torchvision import tv_tensors

from lightning_rcnn.data.transforms.base import Random, TrainingImage
from lightning_rcnn.data.transforms.pair_keypoints import keypoint_entries, moved_keypoints
from lightning_rcnn.data.transforms.pair_masks import moved_masks
from lightning_rcnn.data.transforms.unit_range import in_range_of, in_unit_range
from lightning_rcnn.data.transforms.view import upright
from lightning_rcnn.errors import InputError
from lightning_rcnn.masks.crops import ObjectMask
from lightning_rcnn.plural import plural

PairTransform = Callable[[Any, dict[str, Any]], tuple[Any, dict[str, Any]]]


def apply_to_pair(transform: PairTransform, sample: TrainingImage, random: Random, needs_masks: bool) -> TrainingImage:
    """Apply a transform of (image, target).

    Masks are decoded only for transforms that move boxes, which a first pass without masks shows.

    Args:
        transform: transform, see the head of this file.
        sample: image whose recorded window, quarter turn and flips are applied first.
        random: source of the seed.
        needs_masks: whether the detector trains on masks.

    Raises:
        InputError: the transform does not return an image of the same type and channels and a target.
    """
    recorded, sample = sample, upright(sample)
    name = name_of(transform)
    seed = random.integer()
    image, target = _pair(sample)
    given = target["boxes"]
    new_image, new_target = _run(transform, image, target, seed, name)
    boxes, labels = new_target["boxes"], new_target["labels"]
    # A transform may also have written into its inputs.
    is_kept = boxes is given and np.array_equal(boxes.numpy(), sample.boxes) and len(labels) == len(boxes)
    if is_kept and new_image.shape == sample.image.shape:
        return replace(sample, image=_plain(new_image, sample.image), labels=_as_labels(labels, name))
    kept = torch.as_tensor(new_target.get("number", torch.arange(len(sample.boxes))))
    if len(boxes) != len(kept):  # it drops only boxes, masks and labels, as torchvision's transforms do
        image, target = _pair(sample)
        _, numbered = _run(transform, image, {**target, "labels": target["number"]}, seed, name)
        if not torch.equal(numbered["boxes"], boxes):
            raise InputError(
                f"data.train_transforms: {name} drops objects by their labels, but keeps them in other entries of the "
                "target; drop them from all entries"
            )
        kept = torch.as_tensor(numbered["labels"])
    if not len(kept) == len(labels) == len(boxes):
        raise InputError(
            f"data.train_transforms: {name} gives {plural(len(boxes), 'box')} and {plural(len(labels), 'label')}; "
            "drop both or none"
        )
    segmentations: list[ObjectMask | None] = [None] * len(kept)
    if needs_masks:

        def run_with_masks(objects: TrainingImage, masks: Tensor) -> tuple[Tensor, dict[str, Any]]:
            image, target = _pair(objects)
            return _run(transform, image, {**target, "masks": masks}, seed, name)

        moved = moved_masks(run_with_masks, sample, recorded, new_image, boxes, kept.numpy(), name)
        present = [sample.segmentations[number] is not None for number in kept.tolist()]
        segmentations = [mask if is_there else None for mask, is_there in zip(moved, present, strict=True)]
    return TrainingImage(
        image=_plain(new_image, sample.image),
        boxes=boxes.as_subclass(Tensor).numpy().astype(np.float32),
        labels=_as_labels(labels, name),
        is_crowd=sample.is_crowd[kept.numpy()],
        segmentations=segmentations,
        proposals=_moved_proposals(new_target, sample, name),
        keypoints=moved_keypoints(new_target, new_image, boxes, kept, sample, name),
        negative_labels=sample.negative_labels,
        not_exhaustive_labels=sample.not_exhaustive_labels,
    )


def name_of(transform: object) -> str:
    """Return the name of the class or of the function."""
    return getattr(transform, "__name__", type(transform).__name__)


def _pair(sample: TrainingImage) -> tuple[tv_tensors.Image, dict[str, Any]]:
    """Return copies into which a transform may write: the pixels may belong to the user's data set."""
    height, width = sample.image.shape[-2:]

    def as_boxes(boxes: np.ndarray) -> tv_tensors.BoundingBoxes:
        return tv_tensors.BoundingBoxes(torch.from_numpy(boxes.copy()), format="XYXY", canvas_size=(height, width))

    target: dict[str, Any] = {
        "boxes": as_boxes(sample.boxes),
        "labels": torch.from_numpy(sample.labels.copy()),
        "iscrowd": torch.from_numpy(sample.is_crowd.astype(np.int64)),
        "number": torch.arange(len(sample.boxes)),
    }
    if sample.proposals is not None:
        proposals = sample.proposals[:, :4]
        if len(proposals) == len(sample.boxes):  # a transform that drops boxes would take them for entries of objects
            proposals = np.concatenate([proposals, np.zeros((1, 4), np.float32)])
        target["proposals"] = as_boxes(proposals)
    if sample.keypoints is not None:
        target |= keypoint_entries(sample.keypoints, height, width)
    return tv_tensors.Image(in_unit_range(sample.image.clone())), target


def _plain(image: Tensor, original: Tensor) -> Tensor:
    return in_range_of(image.as_subclass(Tensor), original)


def _moved_proposals(target: dict[str, Any], sample: TrainingImage, name: str) -> np.ndarray | None:
    if sample.proposals is None:
        return None
    number = len(sample.proposals)
    moved = target.get("proposals")
    if moved is None or len(moved) - number != int(number == len(sample.boxes)):
        raise InputError(f"data.train_transforms: {name} drops proposals; keep all of them in their order")
    boxes = torch.as_tensor(moved[:number]).as_subclass(Tensor).numpy().astype(np.float32)
    return np.concatenate([boxes, sample.proposals[:, 4:]], axis=1)


def _as_labels(labels: Any, name: str) -> np.ndarray:
    array = torch.as_tensor(labels).numpy()
    if array.dtype.kind not in "iu" or array.min(initial=1) < 1:
        raise InputError(f"data.train_transforms: {name} gives invalid labels; give integers of at least 1")
    return array.astype(np.int64)


def _run(
    transform: PairTransform, image: Tensor, target: dict[str, Any], seed: int, name: str
) -> tuple[Tensor, dict[str, Any]]:
    like = image.as_subclass(Tensor)
    try:
        with _seeded(seed):
            result = transform(image, target)
    except InputError:
        raise
    except Exception as error:  # transforms raise anything; a worker's traceback would be many lines
        last = traceback.extract_tb(error.__traceback__)[-1]
        message = " ".join(str(error).split())
        raise InputError(
            f"data.train_transforms: {name} fails on (image, target): {type(error).__name__}: {message} "
            f"({last.filename}, line {last.lineno})"
        ) from error
    if not isinstance(result, tuple) or len(result) != 2:
        raise InputError(f"data.train_transforms: {name} returns something else; return (image, target)")
    _check(*result, name, like)
    return result


def _check(image: Any, target: Any, name: str, given: Tensor) -> None:
    """Check the result of a transform on an image like `given`."""
    channels, dtype = given.shape[0], given.dtype
    if not isinstance(image, Tensor) or image.dtype != dtype or image.ndim != 3 or image.shape[0] != channels:
        kind = f"{image.dtype} {list(image.shape)}" if isinstance(image, Tensor) else type(image).__name__
        raise InputError(
            f"data.train_transforms: {name} gives an image of {kind}; keep it {str(dtype).removeprefix('torch.')} "
            f"[{channels}, height, width], as the model normalizes it"
        )
    if min(image.shape) < 1:
        raise InputError(f"data.train_transforms: {name} gives an image of {list(image.shape)}; keep some pixels")
    if not isinstance(target, dict) or not {"boxes", "labels"} <= target.keys():
        raise InputError(f"data.train_transforms: {name} gives a target without boxes or labels; keep both")
    boxes = target["boxes"]
    if not isinstance(boxes, Tensor) or boxes.ndim != 2 or boxes.shape[1] != 4:
        kind = f"{boxes.dtype} {list(boxes.shape)}" if isinstance(boxes, Tensor) else type(boxes).__name__
        raise InputError(f"data.train_transforms: {name} gives boxes of {kind}; keep them a tensor [m, 4]")
    box_format = getattr(boxes, "format", tv_tensors.BoundingBoxFormat.XYXY)
    if box_format != tv_tensors.BoundingBoxFormat.XYXY or not (boxes[:, 2:] >= boxes[:, :2]).all():
        raise InputError(f"data.train_transforms: {name} gives boxes that are not xyxy; keep their format")


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """Seed all generators from which a transform may draw, and restore them."""
    numpy_state, python_state = np.random.get_state(), python_random.getstate()
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed % 2**63)  # `torch.manual_seed` formats a traceback, too
        np.random.seed(seed % 2**32)
        python_random.seed(seed)
        try:
            yield
        finally:
            np.random.set_state(numpy_state)
            python_random.setstate(python_state)
