"""Rotate, scale, shift and shear images."""

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from lightning_rcnn.data.transforms.base import Random, TrainingImage, Transform, color_of
from lightning_rcnn.data.transforms.checks import IMAGENET_COLOR, checked_color, checked_share, limits, probability
from lightning_rcnn.data.transforms.cut import cut
from lightning_rcnn.data.transforms.view import upright
from lightning_rcnn.data.transforms.warp_affine import warp_affine
from lightning_rcnn.errors import InputError
from lightning_rcnn.masks.crops import NO_PIXELS, Crop, ObjectMask, crop_edges, cut_crop, decode_masks, polygon_points


class Affine(Transform):
    """Rotates, scales, shifts and shears an image around its center; its size stays the same.

    Pixels are interpolated linearly, as by `torchvision.transforms.v2.functional.affine`. Polygons move by their
    points, other masks by the pixel at the center of each new pixel. The box of an object is that around its moved
    mask; without a mask, around its moved corners, as in torchvision, which is too large for a rotated object. Objects
    are then cut to the image as by a crop; all of them may go.

    Args:
        degrees: limits of the rotation, clockwise.
        translate: limits of the shift in x and y, as shares of width and height; drawn from -share to share.
        scale_range: limits of the scale.
        shear: limits of the shear in x, degrees.
        min_visible: share of an object's area that must be left, 0 to 1; an object with less goes.
        fill: color of pixels from outside the image, RGB, 0 to 255; by default the mean color of ImageNet.
        p: probability of a change, 0 to 1.

    Raises:
        InputError: an argument is out of range.
    """

    def __init__(
        self,
        degrees: Sequence[float] = (-10.0, 10.0),
        translate: Sequence[float] = (0.0, 0.0),
        scale_range: Sequence[float] = (1.0, 1.0),
        shear: Sequence[float] = (0.0, 0.0),
        min_visible: float = 0.0,
        fill: Sequence[int] = IMAGENET_COLOR,
        p: float = 0.5,
    ) -> None:
        self.degrees = limits("Affine", "degrees", degrees, -360, 360)
        if len(translate) != 2 or not all(0 <= share <= 1 for share in translate):
            raise InputError(
                f"data.train_transforms: Affine: translate is {list(translate)}; give the shares of width and height, "
                "each 0 to 1"
            )
        self.translate = list(translate)
        self.scale_range = limits("Affine", "scale_range", scale_range, 0.01, 100)
        self.shear = limits("Affine", "shear", shear, -80, 80)
        self.min_visible = checked_share("Affine", min_visible)
        self.fill = checked_color("Affine", fill)
        self.p = probability("Affine", p)

    def __call__(self, sample: TrainingImage, random: Random) -> TrainingImage:
        """Apply what is recorded, then the drawn change."""
        if random.uniform() >= self.p:
            return sample
        sample = upright(sample)
        height, width = sample.image.shape[-2:]
        degrees, scale = random.uniform(*self.degrees), random.uniform(*self.scale_range)
        shares = (random.uniform(-share, share) for share in self.translate)
        shift = [round(share * edge) for share, edge in zip(shares, (width, height), strict=True)]
        shear = random.uniform(*self.shear)
        fill = color_of(self.fill, sample.image).flatten().tolist()
        image = warp_affine(sample.image, degrees, shift, scale, shear, fill)
        change = _AffineMap.around((width / 2, height / 2), degrees, scale, shear, shift)
        masks = _moved_masks(sample.segmentations, height, width, change)
        boxes = change.boxes(sample.boxes[:, :4])
        for index, mask in enumerate(masks):
            if mask is not None:
                boxes[index] = _box_around(mask)
        proposals = sample.proposals
        if proposals is not None:
            proposals = np.concatenate([change.boxes(proposals[:, :4]), proposals[:, 4:]], axis=1)
        keypoints = sample.keypoints
        if keypoints is not None:
            keypoints = keypoints.moved(change.points(keypoints.points[..., :2]))
        sample = replace(
            sample, image=image, boxes=boxes, segmentations=masks, proposals=proposals, keypoints=keypoints
        )
        return cut(sample, (0, 0, width, height), self.min_visible)


class _AffineMap:
    """Map of points p' = matrix p + shift."""

    def __init__(self, matrix: np.ndarray, shift: np.ndarray) -> None:
        self.matrix, self.shift = matrix, shift

    @classmethod
    def around(
        cls, center: tuple[float, float], degrees: float, scale: float, shear: float, shift: Sequence[float]
    ) -> "_AffineMap":
        """Return the map that shears, scales and rotates around a center, and then shifts, as torchvision does."""
        angle = math.radians(degrees)
        rotation = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
        matrix = scale * rotation @ np.array([[1.0, -math.tan(math.radians(shear))], [0.0, 1.0]])
        return cls(matrix, np.array(center) + shift - matrix @ np.array(center))

    def points(self, points: np.ndarray) -> np.ndarray:
        """Map float [..., 2], (x, y)."""
        return points @ self.matrix.T + self.shift

    def inverse(self, points: np.ndarray) -> np.ndarray:
        """Map float [..., 2] back."""
        return (points - self.shift) @ np.linalg.inv(self.matrix).T

    def boxes(self, boxes: np.ndarray) -> np.ndarray:
        """Return the boxes around the mapped corners of boxes [..., 4], float32."""
        corners = self.points(boxes[..., [[0, 1], [2, 1], [2, 3], [0, 3]]])
        return np.concatenate([corners.min(axis=-2), corners.max(axis=-2)], axis=-1).astype(np.float32)


def _moved_masks(
    masks: Sequence[ObjectMask | None], height: int, width: int, change: _AffineMap
) -> list[ObjectMask | None]:
    crops = decode_masks([mask for mask in masks if mask is not None and not isinstance(mask, list)], height, width)
    moved: list[ObjectMask | None] = []
    for mask in masks:
        if mask is None:
            moved.append(None)
        elif isinstance(mask, list):
            points = [change.points(part).ravel().tolist() for part in polygon_points(mask) if len(part)]
            moved.append(points or NO_PIXELS)
        else:
            moved.append(_moved_crop(next(crops), change))
    return moved


def _moved_crop(crop: Crop, change: _AffineMap) -> Crop:
    """Return the moved pixels of a mask, also those that come to lie outside the image."""
    if not crop.pixels.size:
        return NO_PIXELS
    x1, y1, x2, y2 = change.boxes(np.array(crop_edges(crop), np.float64)).tolist()
    left, top, right, bottom = math.floor(x1), math.floor(y1), math.ceil(x2), math.ceil(y2)
    grid = np.stack(np.meshgrid(np.arange(left, right), np.arange(top, bottom)), axis=-1) + 0.5
    columns, rows = np.moveaxis(np.floor(change.inverse(grid)).astype(np.int64), -1, 0) - np.array(
        [[[crop.left]], [[crop.top]]]
    )
    height, width = crop.pixels.shape
    is_inside = (rows >= 0) & (rows < height) & (columns >= 0) & (columns < width)
    pixels = np.zeros(is_inside.shape, np.bool_)
    pixels[is_inside] = crop.pixels[rows[is_inside], columns[is_inside]]
    return cut_crop(Crop(pixels, top, left), (left, top, right, bottom))


def _box_around(mask: ObjectMask) -> Sequence[float]:
    if isinstance(mask, Crop):
        return crop_edges(mask)
    points = np.concatenate([np.array(part).reshape(-1, 2) for part in mask])
    return [*points.min(axis=0), *points.max(axis=0)]
