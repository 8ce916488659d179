"""Convert the segmentations of an image's objects to compact masks: bits of crops, or edges of outlines.

Polygons are rasterized in the original frame, to the same pixels as by the COCO API. No array here is as large as the
image.

Shape letters: m objects of an image, B bytes, e edges of all of them together, h and w height and width of a crop.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from lightning_rcnn.data.geometry import AxisAlignedMap
from lightning_rcnn.masks.crops import (
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
from lightning_rcnn.masks.outlines import pixel_edges
from lightning_rcnn.masks.polygons import clip_polygon, doubled_area


class ImageBitmaps(NamedTuple):
    """Crops of the masks of one image; see `structures.Bitmaps`.

    Attributes:
        bits: uint8 [B], bits of one crop after the other, each from a new byte on.
        sizes: int64 [m, 2], (height, width) of the crops in pixels; 0 x 0 for an object without a mask.
        boxes: float32 [m, 4], outer edges of the crops in the resized frame; zeros without a mask.
    """

    bits: np.ndarray
    sizes: np.ndarray
    boxes: np.ndarray


class ImageOutlines(NamedTuple):
    """Outlines of the masks of one image; see `structures.Polygons`.

    Attributes:
        edges: float32 [e, 4], from (x1, y1) to (x2, y2) in the resized frame; the inside is on the right of an edge
            in the displayed image, where y grows downward.
        counts: int64 [m], number of edges of each object.
    """

    edges: np.ndarray
    counts: np.ndarray


ImageMasks = ImageBitmaps | ImageOutlines


def crop_bitmaps(
    segmentations: Sequence[ObjectMask | None],
    height: int,
    width: int,
    to_resized: AxisAlignedMap,
    window: Window | None = None,
) -> ImageBitmaps:
    """Return the bits of the masks of one image.

    Args:
        segmentations: segmentations of m objects; None for an object without a mask.
        height, width: size of the image in pixels, original frame.
        to_resized: map into the resized frame; if it mirrors, the crops are mirrored too.
        window: part of the image to which masks are cut, original frame; it may reach beyond the image.

    Raises:
        UnreadableMaskError: a segmentation cannot be read.
    """
    sizes = np.zeros((len(segmentations), 2), np.int64)
    edges = np.zeros((len(segmentations), 4), np.float32)
    bits = [np.zeros(0, np.uint8)]
    present = [(number, segmentation) for number, segmentation in enumerate(segmentations) if segmentation is not None]
    # What lies inside both is decoded with its margin; without a window, that holds at the sides of the image too.
    image = (0, 0, width, height)
    inner = (-1, -1, width + 1, height + 1) if window is None else overlap(window, image)
    crops = decode_masks([segmentation for _, segmentation in present], height, width, margin=1)
    for (number, segmentation), crop in zip(present, crops, strict=True):
        if isinstance(segmentation, Crop) or not is_inside(crop, inner):
            crop = cut_crop(crop, window or image, margin=1)
        pixels = to_resized.pixels(crop.pixels)
        sizes[number] = pixels.shape
        edges[number] = crop_edges(crop)
        bits.append(np.packbits(pixels))
    boxes = to_resized.boxes(edges)
    boxes[sizes[:, 0] == 0] = 0
    return ImageBitmaps(np.concatenate(bits), sizes, boxes)


def trace_outlines(
    segmentations: Sequence[ObjectMask | None],
    height: int,
    width: int,
    to_resized: AxisAlignedMap,
    window: Window | None = None,
) -> ImageOutlines:
    """Return the outlines of the masks of one image: polygons unchanged, and the pixel borders of other masks.

    Args:
        segmentations: segmentations of m objects; None for an object without a mask.
        height, width: size of the image in pixels, original frame; polygons may exceed it.
        to_resized: map into the resized frame.
        window: part of the image to which masks are cut, original frame; None to leave polygons unchanged.

    Raises:
        UnreadableMaskError: a segmentation cannot be read.
    """
    visible = None if window is None else overlap(window, (0, 0, width, height))
    outlines = _outlines(segmentations, height, width, visible)
    edges = np.concatenate([np.zeros((0, 4)), *outlines])
    ends = to_resized.points(edges.reshape(-1, 2, 2))
    if to_resized.reverses:
        ends = ends[:, ::-1]
    counts = np.array([len(outline) for outline in outlines], np.int64)
    return ImageOutlines(ends.reshape(-1, 4).astype(np.float32), counts)


def _outlines(
    segmentations: Sequence[ObjectMask | None], height: int, width: int, visible: Window | None
) -> list[np.ndarray]:
    """Return the edges [e, 4] of each object in the original frame, with the inside on their right."""
    not_polygons = [mask for mask in segmentations if mask is not None and not isinstance(mask, list)]
    crops = decode_masks(not_polygons, height, width)
    outlines = []
    for segmentation in segmentations:
        if segmentation is None:
            outlines.append(np.zeros((0, 4)))
        elif isinstance(segmentation, list):
            outlines.append(_polygon_outlines(segmentation, visible))
        else:
            crop = next(crops)
            outlines.append(pixel_edges(*(crop if visible is None else cut_crop(crop, visible))))
    return outlines


def _polygon_outlines(polygons: list[list[float]], visible: Window | None) -> np.ndarray:
    parts = polygon_points(polygons)
    if visible is not None:
        low, high = np.array(visible[:2]), np.array(visible[2:])
        parts = [clip_polygon(part, low, high) for part in parts]
    return np.concatenate([np.zeros((0, 4)), *(_polygon_outline(part) for part in parts)])


def _polygon_outline(points: np.ndarray) -> np.ndarray:
    next_points = np.roll(points, -1, axis=0)
    ends = (points, next_points) if doubled_area(points) >= 0 else (next_points, points)
    return np.concatenate(ends, axis=1)
