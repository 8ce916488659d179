"""Keypoints through the transforms: a keypoint stays on the spot of the image that it marks.

Each of the three keypoints is a white square in its own channel of the image, so the square's center after a transform
says where the keypoint is. The first two are a left and a right one: a mirror exchanges them.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torchvision.transforms import v2

from lightning_rcnn import Skeleton
from lightning_rcnn.data.keypoints import ObjectKeypoints
from lightning_rcnn.data.transforms import (
    Affine,
    CopyPaste,
    Cutout,
    HorizontalFlip,
    Mosaic,
    QuarterTurns,
    Random,
    RandomIoUCrop,
    RandomSizeCrop,
    TrainingImage,
    VerticalFlip,
    ZoomOut,
)
from lightning_rcnn.data.transforms.frame import resized
from lightning_rcnn.data.transforms.torchvision import apply_to_pair
from lightning_rcnn.data.transforms.view import upright
from lightning_rcnn.errors import InputError

HEIGHT, WIDTH = 72, 96
SKELETON = Skeleton(("left", "right", "tip"), ((0, 2), (1, 2)), ((0, 1),))
REACH = 2
"""Pixels on each side of a keypoint that are white."""


def scene(number: int, is_painted: bool = True) -> TrainingImage:
    """One object with three keypoints far from each other; its box and mask are larger than they need to be."""
    chance = np.random.default_rng(number)
    x1, y1 = chance.integers(4, WIDTH - 50), chance.integers(4, HEIGHT - 44)
    x2, y2 = x1 + 40, y1 + 36
    at = [(x1 + 5, y1 + 5), (x1 + 34, y1 + 8), (x1 + 20, y1 + 30)]
    image = torch.zeros((3, HEIGHT, WIDTH), dtype=torch.uint8)
    for channel, (x, y) in enumerate(at if is_painted else []):
        image[channel, y - REACH : y + REACH + 1, x - REACH : x + REACH + 1] = 255
    keypoints = [value for x, y in at for value in (x + 0.5, y + 0.5, 2.0)]
    return TrainingImage(
        image,
        np.array([[x1, y1, x2, y2]], np.float32),
        np.array([1]),
        np.array([False]),
        [[[x1, y1, x2, y1, x2, y2, x1, y2]]],
        keypoints=ObjectKeypoints.read([{"keypoints": keypoints}], SKELETON),
    )


def centers(image: Tensor, background: Tensor) -> np.ndarray:
    """Center and weight [3, 3] of what is brighter than the background in each channel, pixels' centers at .5."""
    light = (image.double() - background.double()).clamp(min=0).numpy()
    rows, columns = (np.arange(side) + 0.5 for side in image.shape[1:])
    weight = light.sum(axis=(1, 2))
    with np.errstate(invalid="ignore", divide="ignore"):
        x, y = (light.sum(axis=1) @ columns) / weight, (light.sum(axis=2) @ rows) / weight
    return np.stack([x, y, weight / 255], axis=1)


def is_mirrored(points: np.ndarray, moved: np.ndarray) -> bool:
    """Whether the triangle of the squares turns the other way round."""

    def turn(triangle: np.ndarray) -> float:
        first, second = triangle[1, :2] - triangle[0, :2], triangle[2, :2] - triangle[0, :2]
        return first[0] * second[1] - first[1] * second[0]

    return turn(points) * turn(moved) < 0


def check(apply: Callable[[TrainingImage, Random], TrainingImage], tolerance: float = 0.1, count: int = 12) -> int:
    """Compare keypoints with the squares in the image; return how many images were mirrored."""
    mirrored = seen = 0
    for number in range(count):
        sample = scene(number)
        result, background = (
            upright(apply(each, Random(0, 0, number, 0))) for each in (sample, scene(number, is_painted=False))
        )
        assert result.keypoints is not None
        assert len(result.keypoints.points) == len(result.boxes)
        if not len(result.boxes):
            continue
        expected, found = centers(result.image, background.image), result.keypoints.points[0]
        is_whole = bool((expected[:, 2] > 0).all())
        if is_whole and is_mirrored(sample.keypoints.points[0], expected):
            expected, mirrored = expected[[1, 0, 2]], mirrored + 1
        if not is_whole:  # the order is not known
            assert (found[:, 2] > 0).sum() <= (expected[:, 2] > 0).sum()
            continue
        height, width = result.image.shape[-2:]
        for (x, y, weight), (own_x, own_y, visibility) in zip(expected, found, strict=True):
            if min(x, y, width - x, height - y) < 3 * REACH:
                continue  # the square may be cut
            assert weight > 0
            assert visibility == 2
            assert abs(own_x - x) < tolerance
            assert abs(own_y - y) < tolerance
            seen += 1
    assert seen >= count
    return mirrored


@pytest.mark.parametrize(
    ("transforms", "tolerance"),
    [
        ([HorizontalFlip(1.0)], 1e-3),
        ([VerticalFlip(1.0)], 1e-3),
        ([HorizontalFlip(1.0), VerticalFlip(1.0)], 1e-3),
        ([QuarterTurns(1.0), HorizontalFlip(0.5)], 1e-3),
        ([Affine((-30, 30), (0.1, 0.1), (0.8, 1.2), (-10, 10), p=1.0)], 0.2),
        ([ZoomOut((1.2, 2.0), p=1.0), HorizontalFlip(0.5)], 1e-3),
        ([RandomSizeCrop(60, 72, p=1.0), HorizontalFlip(0.5)], 1e-3),
        ([RandomIoUCrop(), QuarterTurns(0.5)], 1e-3),
    ],
    ids=lambda value: "-".join(type(each).__name__ for each in value) if isinstance(value, list) else "",
)
def test_ours_move_keypoints_with_the_image(transforms: list[Any], tolerance: float):
    def apply(sample: TrainingImage, random: Random) -> TrainingImage:
        for transform in transforms:
            sample = transform(sample, random)
        return sample

    mirrored = check(apply, tolerance)
    if len(transforms) == 2 and isinstance(transforms[1], VerticalFlip):
        assert mirrored == 0
    elif isinstance(transforms[0], HorizontalFlip | VerticalFlip):
        assert mirrored == 12


def test_a_resized_image_has_resized_keypoints():
    check(lambda sample, random: resized(sample, (50, 120)), tolerance=0.2)


@pytest.mark.parametrize(
    ("transform", "tolerance"),
    [
        (v2.RandomHorizontalFlip(1.0), 1e-3),
        (v2.RandomVerticalFlip(1.0), 1e-3),
        (v2.RandomRotation(25), 0.6),
        (v2.RandomAffine(20, (0.1, 0.1), (0.8, 1.2)), 0.6),
        (v2.Resize((100, 60)), 0.6),
        (v2.Compose([v2.RandomHorizontalFlip(1.0), v2.RandomCrop((60, 80)), v2.SanitizeBoundingBoxes()]), 1e-3),
        (v2.Compose([v2.RandomIoUCrop(), v2.SanitizeBoundingBoxes()]), 1e-3),
        (v2.ColorJitter(), 1e-3),
    ],
    ids=["flip", "upside down", "rotation", "affine", "resize", "flip and crop", "iou crop", "colors"],
)
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_those_of_torchvision_move_keypoints_with_the_image(transform: Any, tolerance: float):
    """Its flips count keypoints by the index of the pixel, its maps by edges: half a pixel, times the scale."""
    mirrored = check(lambda sample, random: apply_to_pair(transform, sample, random, needs_masks=False), tolerance)
    if "Flip" in type(transform).__name__:
        assert mirrored == 12


def test_a_transform_that_leaves_or_drops_keypoints_is_refused():
    def flip_boxes_only(image: Tensor, target: dict[str, Any]) -> tuple[Tensor, dict[str, Any]]:
        boxes = target["boxes"].clone()
        boxes[:, [0, 2]] = WIDTH - boxes[:, [2, 0]]
        return image.flip(-1), {**target, "boxes": boxes}

    sample = scene(0)
    with pytest.raises(
        InputError, match="flip_boxes_only moves boxes and leaves keypoints; move the entries keypoints"
    ):
        apply_to_pair(flip_boxes_only, sample, Random(0, 0, 0, 0), needs_masks=False)
    crop = v2.Compose([v2.CenterCrop(20), v2.SanitizeKeyPoints(labels_getter=None)])
    with pytest.raises(InputError, match=r"Compose (drops keypoints; keep those|fails on).*"):
        apply_to_pair(crop, sample, Random(0, 0, 0, 0), needs_masks=False)


def test_a_mosaic_has_the_keypoints_of_its_parts():
    objects = 0
    for number in range(12):
        result = Mosaic(p=1.0).mix(scene(number), [scene(number + k) for k in (1, 2, 3)], Random(0, 0, number, 0))
        assert len(result.keypoints.points) == len(result.boxes)
        for points in result.keypoints.points:
            objects += 1
            for channel, (x, y, visibility) in enumerate(points):
                if visibility:
                    near = result.image[channel, max(0, int(y) - 1) : int(y) + 2, max(0, int(x) - 1) : int(x) + 2]
                    assert near.max() > 200
                else:
                    assert (x, y) == (0, 0)
    assert objects > 20


def test_keypoints_behind_pasted_objects_and_rectangles_count_as_hidden():
    hidden = seen = 0
    transforms = [CopyPaste(1.0), Cutout(1.0, (2, 3), (0.2, 0.5), (0, 0, 0), max_hidden=1.0)]
    for number in range(20):
        below = scene(number)
        pasted = transforms[0].mix(below, [scene(number + 50)], Random(0, 0, number, 0))
        assert len(pasted.boxes) == len(pasted.keypoints.points)
        for result in (pasted, transforms[1](below, Random(0, 0, number, 0))):
            is_whole = len(result.boxes) == 1 + (result is pasted)
            points = result.keypoints.points[0] if is_whole else np.zeros((0, 3))
            for channel, (x, y, visibility) in enumerate(points):
                is_white = bool(result.image[channel, int(y), int(x)] == 255)
                assert visibility in (1, 2)
                if visibility == 2:
                    assert is_white
                hidden, seen = hidden + (visibility == 1), seen + (visibility == 2)
    assert hidden > 5
    assert seen > 20


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"names": ()}, r"names is \[\]; give one or more, all different"),
        ({"names": ("a", "a")}, "all different"),
        ({"names": ("a", "b"), "edges": ((0, 2),)}, r"edges has \[0, 2\]; give two positions from 0 to 1"),
        ({"names": ("a", "b", "c"), "flip_pairs": ((0, 1), (1, 2))}, "may be in one pair only"),
    ],
)
def test_a_wrong_skeleton_is_refused(arguments: dict[str, Any], message: str):
    with pytest.raises(InputError, match=message):
        Skeleton(**arguments)
