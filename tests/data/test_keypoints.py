"""Keypoints through the transforms: a keypoint stays on the spot of the image that it marks.

Each of the three keypoints is a white square in its own channel of the image, so the square's center after a transform
says where the keypoint is. The first two are a left and a right one: a mirror exchanges them. Images are compared as
the network gets them: cut, resized and flipped by `render`.
"""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torchvision.transforms import v2

from lightning_rcnn import Skeleton
from lightning_rcnn.data.keypoints import ObjectKeypoints
from lightning_rcnn.data.resize import OriginalSize, ResizeMethod, ResizeRule
from lightning_rcnn.data.slots import SlotLayout, allocate_slots
from lightning_rcnn.data.transforms import (
    Affine,
    CopyPaste,
    Cutout,
    HorizontalFlip,
    MixingTransform,
    Mosaic,
    QuarterTurns,
    Random,
    RandomIoUCrop,
    RandomSizeCrop,
    ScaleJitter,
    TrainingImage,
    Transform,
    VerticalFlip,
    ZoomOut,
)
from lightning_rcnn.data.transforms.frame import resized
from lightning_rcnn.data.transforms.render import render
from lightning_rcnn.data.transforms.torchvision import apply_to_pair
from lightning_rcnn.errors import InputError

HEIGHT, WIDTH = 72, 96
SKELETON = Skeleton(("left", "right", "tip"), ((0, 2), (1, 2)), ((0, 1),))
ORIGINAL_SIZE = OriginalSize()
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


def rendered(sample: TrainingImage, rule: ResizeRule = ORIGINAL_SIZE) -> tuple[Tensor, np.ndarray]:
    """The image in a slot of 200 x 200 pixels, and its keypoints [m, 3, 3] there."""
    dtype = torch.float32 if rule.method == "bilinear" else torch.uint8
    image, to_resized = render(sample, rule, allocate_slots(SlotLayout(1, 3, (200, 200), dtype))[0])
    assert sample.keypoints is not None
    return image, sample.keypoints.mapped(to_resized).points


def check(
    apply: Callable[[TrainingImage, Random], TrainingImage],
    tolerance: float = 0.1,
    count: int = 12,
    rule: ResizeRule = ORIGINAL_SIZE,
) -> int:
    """Compare keypoints with the squares in the image; return how many images were mirrored."""
    mirrored = seen = 0
    for number in range(count):
        sample = scene(number)
        result, unpainted = (apply(each, Random(0, 0, number, 0)) for each in (sample, scene(number, is_painted=False)))
        (image, points), (background, _) = rendered(result, rule), rendered(unpainted, rule)
        assert len(points) == len(result.boxes)
        if not len(result.boxes):
            continue
        expected, found = centers(image, background), points[0]
        is_whole = bool((expected[:, 2] > 0).all())
        if is_whole and is_mirrored(sample.keypoints.points[0], expected):
            expected, mirrored = expected[[1, 0, 2]], mirrored + 1
        if not is_whole:  # the order is not known
            assert (found[:, 2] > 0).sum() <= (expected[:, 2] > 0).sum()
            continue
        height, width = image.shape[-2:]
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
        ([ScaleJitter((80, 112), (0.5, 1.4))], 0.2),
        ([HorizontalFlip(1.0), ScaleJitter((96, 96), (1.0, 1.4))], 0.2),
        ([QuarterTurns(1.0), VerticalFlip(0.5), ScaleJitter((112, 80), (0.6, 1.2))], 0.2),
        ([ZoomOut((1.2, 2.0), p=1.0), RandomSizeCrop(100, 120, p=1.0), ScaleJitter((96, 96), (0.8, 1.1))], 0.2),
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


@pytest.mark.parametrize("method", ["antialiased", "bilinear", "opencv"])
@pytest.mark.parametrize("sizes", [(100, 150), (50, 80)], ids=["larger", "smaller"])
def test_the_resize_rule_moves_keypoints_with_the_image(method: ResizeMethod, sizes: tuple[int, int]):
    transforms = [HorizontalFlip(0.5), QuarterTurns(0.5), RandomSizeCrop(60, 72, p=0.5)]

    def apply(sample: TrainingImage, random: Random) -> TrainingImage:
        for transform in transforms:
            sample = transform(sample, random)
        return sample

    assert 0 < check(apply, 0.25, rule=ResizeRule(*sizes, method)) < 12


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


def spots(image: Tensor, background: Tensor, points: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Pairs of a keypoint (x, y) that is seen and the center of the light around it, if no other's can be there."""
    reach = 3 * REACH
    height, width = image.shape[-2:]
    light = (image.double() - background.double()).clamp(min=0).numpy()
    for channel in range(3):
        labeled = points[points[:, channel, 2] > 0, channel]
        for x, y, visibility in labeled:
            is_alone = (np.abs(labeled[:, :2] - (x, y)).max(axis=1) < 2 * reach).sum() == 1
            if visibility < 2 or not is_alone or min(x, y, width - x, height - y) < reach + 1:
                continue
            left, top = int(x) - reach, int(y) - reach
            around = light[channel, top : top + 2 * reach + 1, left : left + 2 * reach + 1]
            across, down = around.sum(axis=0), around.sum(axis=1)
            width_seen, height_seen = (line.sum() / max(1, line.max()) for line in (across, down))
            is_square = abs(width_seen - height_seen) < 0.1 * width_seen and width_seen > 2 * REACH
            if is_square and around.sum() > 0.95 * around.max() * width_seen * height_seen:  # else others cover it
                rows, columns = np.indices(around.shape) + 0.5
                center = [left + (around * columns).sum() / around.sum(), top + (around * rows).sum() / around.sum()]
                yield np.array([x, y]), np.array(center)


@pytest.mark.parametrize(
    ("transforms", "mixing", "tolerance"),
    [
        ([], Mosaic((100, 140), p=1.0), 0.5),
        ([HorizontalFlip(0.5)], Mosaic(p=1.0), 0.5),
        ([HorizontalFlip(0.5), QuarterTurns(0.5)], CopyPaste(1.0), 0.5),
        ([HorizontalFlip(0.5), ScaleJitter((100, 120), (0.9, 1.5))], CopyPaste(1.0), 0.5),
    ],
    ids=["mosaic", "flips and mosaic", "flips and copy-paste", "scale jitter and copy-paste"],
)
def test_mixed_images_have_the_keypoints_of_all_at_their_spots(
    transforms: list[Transform], mixing: MixingTransform, tolerance: float
):
    """Squares are cut by quadrants and objects, so few are compared, and their order by the channels alone."""
    compared = 0
    for number in range(24):

        def mixed(is_painted: bool, number: int = number) -> TrainingImage:
            images = [scene(number + 24 * k, is_painted) for k in range(4 if isinstance(mixing, Mosaic) else 2)]
            for position, transform in enumerate(transforms):
                images = [transform(each, Random(0, 0, number + 24 * k, position)) for k, each in enumerate(images)]
            return mixing.mix(images[0], images[1:], Random(0, 0, number, 9))

        (image, points), (background, _) = rendered(mixed(True)), rendered(mixed(False))
        unmirrored = points
        if transforms:  # a mirror exchanged the first two keypoints, and not their channels
            turns = [is_mirrored(scene(0).keypoints.points[0], each) for each in points]
            unmirrored = np.array([each[[1, 0, 2]] if turn else each for each, turn in zip(points, turns, strict=True)])
        for keypoint, center in spots(image, background, unmirrored.reshape(-1, 3, 3)):
            assert np.abs(keypoint - center).max() < tolerance
            compared += 1
    assert compared > 24


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
