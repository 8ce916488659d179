"""Bring images with their annotations into one frame, before their pixels are mixed."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

from lightning_rcnn.data.geometry import AxisAlignedMap
from lightning_rcnn.data.keypoints import ObjectKeypoints
from lightning_rcnn.data.resize import ResizeRule
from lightning_rcnn.data.transforms.base import TrainingImage
from lightning_rcnn.data.transforms.cut import cut
from lightning_rcnn.data.transforms.view import upright
from lightning_rcnn.masks.crops import Crop, ObjectMask, Window, decode_masks, polygon_points
from lightning_rcnn.masks.run_length import resize_crop

_RESIZE = ResizeRule(method="antialiased")


def resized(sample: TrainingImage, size: tuple[int, int]) -> TrainingImage:
    """Apply all that is recorded, and resize the image.

    Args:
        sample: image without proposals.
        size: (height, width) of the new image in pixels.

    Returns:
        An image [C, *size] with nothing recorded but its final size. Polygons stay polygons; other masks are resized by
        nearest neighbor.

    Raises:
        UnreadableMaskError: a mask cannot be decoded.
    """
    sample = upright(sample)
    height, width = sample.image.shape[-2:]
    if size == (height, width):
        return sample
    scaling = AxisAlignedMap(size[1] / width, 0.0, size[0] / height, 0.0)
    masks: list[ObjectMask | None] = [
        resize_crop(mask, (height, width), size) if isinstance(mask, Crop) else _mapped(mask, scaling)
        for mask in _with_crops(sample)
    ]
    image = _RESIZE.resize(sample.image, size)
    keypoints = None if sample.keypoints is None else sample.keypoints.mapped(scaling)
    return replace(sample, image=image, boxes=scaling.boxes(sample.boxes), segmentations=masks, keypoints=keypoints)


def placed(sample: TrainingImage, window: Window, min_visible: float) -> TrainingImage:
    """Cut an image to a window, or extend it, and make the result the image.

    Args:
        sample: image with nothing recorded but its final size.
        window: new frame, in pixels of the image; may reach beyond it.
        min_visible: share of an object that must be left; see `cut`.
    """
    height, width = sample.image.shape[-2:]
    return sample if window == (0, 0, width, height) else upright(cut(sample, window, min_visible))


def shifted_masks(sample: TrainingImage, x: int, y: int) -> list[ObjectMask | None]:
    """Return the masks of an image with nothing recorded, `x` pixels to the right and `y` pixels down."""
    shift = AxisAlignedMap(1.0, float(x), 1.0, float(y))
    return [
        Crop(mask.pixels, mask.top + y, mask.left + x) if isinstance(mask, Crop) else _mapped(mask, shift)
        for mask in _with_crops(sample)
    ]


def shifted_keypoints(sample: TrainingImage, x: int, y: int) -> ObjectKeypoints | None:
    """Return the keypoints of an image with nothing recorded, `x` pixels to the right and `y` pixels down."""
    return None if sample.keypoints is None else sample.keypoints.mapped(AxisAlignedMap(1.0, float(x), 1.0, float(y)))


def joined_keypoints(keypoints: Sequence[ObjectKeypoints | None]) -> ObjectKeypoints | None:
    """Return the keypoints of the objects of several images in one frame; None if they are not needed."""
    present = [each for each in keypoints if each is not None]
    return present[0].joined(*present[1:]) if present else None


def _with_crops(sample: TrainingImage) -> Iterator[list[list[float]] | Crop | None]:
    """Return the masks of an image with crops in place of run-length encodings."""
    masks = sample.segmentations
    others = [mask for mask in masks if mask is not None and not isinstance(mask, list)]
    crops = decode_masks(others, *sample.image.shape[-2:])
    for mask in masks:
        yield mask if mask is None or isinstance(mask, list) else next(crops)


def _mapped(polygons: list[list[float]] | None, by: AxisAlignedMap) -> list[list[float]] | None:
    if polygons is None:
        return None
    return [by.points(points).ravel().tolist() for points in polygon_points(polygons)]
