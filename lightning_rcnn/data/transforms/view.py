"""The displayed frame of a training image: what its recorded window, quarter turn and flips show.

Crops are drawn in this frame, so that recorded steps compose: the window of a second crop is part of the first one's.
"""

from collections.abc import Iterator, Sequence

import numpy as np
from torch import Tensor

from lightning_rcnn.data.canvas import filled
from lightning_rcnn.data.geometry import AxisAlignedMap
from lightning_rcnn.data.pixel_format import per_channel
from lightning_rcnn.data.transforms.base import TrainingImage
from lightning_rcnn.data.transforms.color_transform import with_colors
from lightning_rcnn.masks.crops import (
    NO_PIXELS,
    Crop,
    ObjectMask,
    Window,
    crop_edges,
    cut_crop,
    decode_masks,
    is_inside,
    overlap,
    polygon_points,
)
from lightning_rcnn.masks.polygons import clip_polygon, has_area


def window_of(sample: TrainingImage) -> Window:
    """Return the displayed part of the image, in its pixels."""
    height, width = sample.image.shape[-2:]
    return sample.window or (0, 0, width, height)


def visible_part(sample: TrainingImage) -> Window:
    """Return the part of the window that the image fills, in its pixels."""
    height, width = sample.image.shape[-2:]
    return overlap(window_of(sample), (0, 0, width, height))


def displayed_size(sample: TrainingImage) -> tuple[int, int]:
    """Return (height, width) of the displayed frame, pixels."""
    x1, y1, x2, y2 = window_of(sample)
    return (x2 - x1, y2 - y1) if sample.is_transposed else (y2 - y1, x2 - x1)


def displayed_boxes(sample: TrainingImage) -> np.ndarray:
    """Return the boxes of the objects in the displayed frame, float32 [m, 4]."""
    return map_into(sample, displayed_size(sample)).boxes(sample.boxes)


def map_into(sample: TrainingImage, size: tuple[int, int]) -> AxisAlignedMap:
    """Return the map from the image into its displayed frame, resized to (height, width)."""
    x1, y1, x2, y2 = window_of(sample)
    height, width = size
    (left, right), (top, bottom) = ((y1, y2), (x1, x2)) if sample.is_transposed else ((x1, x2), (y1, y2))
    scale_x, scale_y = width / (right - left), height / (bottom - top)
    shift_x, shift_y = -left * scale_x, -top * scale_y
    if sample.is_mirrored:
        scale_x, shift_x = -scale_x, width - shift_x
    if sample.is_upside_down:
        scale_y, shift_y = -scale_y, height - shift_y
    return AxisAlignedMap(scale_x, shift_x, scale_y, shift_y, sample.is_transposed)


def in_image(sample: TrainingImage, window: Window) -> Window:
    """Map a window of the displayed frame into the image."""
    height, width = displayed_size(sample)
    left, top, right, bottom = window
    if sample.is_mirrored:
        left, right = width - right, width - left
    if sample.is_upside_down:
        top, bottom = height - bottom, height - top
    if sample.is_transposed:
        left, top, right, bottom = top, left, bottom, right
    x1, y1, _, _ = window_of(sample)
    return x1 + left, y1 + top, x1 + right, y1 + bottom


def displayed_pixels(sample: TrainingImage) -> Tensor:
    """Return the pixels of the window, transposed if recorded but not flipped, [C, h, w].

    A view of the image where the window does not reach beyond it.
    """
    x1, y1, x2, y2 = window_of(sample)
    left, top, right, bottom = visible_part(sample)
    pixels = sample.image[:, top:bottom, left:right]
    if (left, top, right, bottom) != (x1, y1, x2, y2):
        canvas = filled(per_channel(sample.fill, len(pixels)), (y2 - y1, x2 - x1), pixels.dtype)
        canvas[:, top - y1 : bottom - y1, left - x1 : right - x1] = pixels
        pixels = canvas
    return pixels.mT if sample.is_transposed else pixels


def upright(sample: TrainingImage) -> TrainingImage:
    """Apply what is recorded, except the final size: the image becomes the displayed frame.

    Polygons move by their points and are clipped to the window; other masks become crops.

    Raises:
        UnreadableMaskError: a mask cannot be read.
    """
    if sample.window is None and not (sample.is_mirrored or sample.is_upside_down or sample.is_transposed):
        return sample
    sample = with_colors(sample)  # before the color of the canvas is there, which no change of colors concerns
    to_displayed = map_into(sample, displayed_size(sample))
    axes = [axis for axis, is_flipped in ((-2, sample.is_upside_down), (-1, sample.is_mirrored)) if is_flipped]
    pixels = displayed_pixels(sample)
    proposals = sample.proposals
    if proposals is not None:
        proposals = np.concatenate([to_displayed.boxes(proposals[:, :4]), proposals[:, 4:]], axis=1)
    return TrainingImage(
        image=pixels.flip(axes) if axes else pixels,
        boxes=to_displayed.boxes(sample.boxes),
        labels=sample.labels,
        is_crowd=sample.is_crowd,
        segmentations=_displayed_masks(sample, to_displayed),
        proposals=proposals,
        negative_labels=sample.negative_labels,
        not_exhaustive_labels=sample.not_exhaustive_labels,
        final_size=sample.final_size,
        keypoints=None if sample.keypoints is None else sample.keypoints.mapped(to_displayed),
    )


def displayed_crops(sample: TrainingImage, masks: Sequence[ObjectMask]) -> Iterator[Crop]:
    """Decode masks in the frame of the image, as they are stored, and yield what is displayed of them."""
    to_displayed, visible = map_into(sample, displayed_size(sample)), visible_part(sample)
    for crop in decode_masks(masks, *sample.image.shape[-2:]):
        cut = crop if is_inside(crop, visible) else cut_crop(crop, visible)
        left, top = to_displayed.corner(crop_edges(cut))
        yield Crop(to_displayed.pixels(cut.pixels), int(top), int(left)) if cut.pixels.size else NO_PIXELS


def _displayed_masks(sample: TrainingImage, to_displayed: AxisAlignedMap) -> list[ObjectMask | None]:
    visible = visible_part(sample)
    low, high = np.array(visible[:2]), np.array(visible[2:])

    def moved_polygons(polygons: list[list[float]]) -> ObjectMask:
        clipped = [clip_polygon(points, low, high) for points in polygon_points(polygons)]
        moved = [to_displayed.points(points).ravel().tolist() for points in clipped if has_area(points)]
        return moved or NO_PIXELS

    masks = sample.segmentations
    crops = displayed_crops(sample, [mask for mask in masks if mask is not None and not isinstance(mask, list)])
    moved: list[ObjectMask | None] = []
    for mask in masks:
        if mask is None:
            moved.append(None)
        else:
            moved.append(moved_polygons(mask) if isinstance(mask, list) else next(crops))
    return moved
