"""Segmentations of an image's objects to the forms in which masks travel: bits of crops, or edges of outlines.

Pixels are those that the COCO API gives: a polygon is rasterised as it does, in the original frame. Nothing here is as
large as the image.

Shape letters: m objects of an image, B bytes, e edges of all of them together, h and w height and width of a crop.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from lightning_rcnn.data.transforms import AxisAlignedMap
from lightning_rcnn.masks.run_length import RunLength, decode_crop, encode_polygons

Segmentation = list[list[float]] | RunLength
"""Polygons [x, y, x, y, ...] that do not cross themselves, or RLE; original frame."""


class ImageBitmaps(NamedTuple):
    """Crops of the masks of one image; see `structures.Bitmaps`.

    Attributes:
        bits: uint8 [B], one crop after the other, each from a new byte on.
        sizes: int64 [m, 2], (height, width) of the crops; 0 x 0 for an object without a mask.
        boxes: float32 [m, 4], the crops' outer edges in the resized frame.
    """

    bits: np.ndarray
    sizes: np.ndarray
    boxes: np.ndarray


class ImageOutlines(NamedTuple):
    """Outlines of the masks of one image; see `structures.Polygons`.

    Attributes:
        edges: float32 [e, 4], from (x1, y1) to (x2, y2) in the resized frame; the inside is on their right as one sees
            the picture, where y grows downwards.
        counts: int64 [m], how many of them belong to each object.
    """

    edges: np.ndarray
    counts: np.ndarray


ImageMasks = ImageBitmaps | ImageOutlines


def crop_bitmaps(
    segmentations: Sequence[Segmentation | None], height: int, width: int, to_resized: AxisAlignedMap
) -> ImageBitmaps:
    """Bits of the masks of one image.

    Args:
        segmentations: of m objects; None for an object without a mask.
        height, width: of the image in the original frame.
        to_resized: the map into the resized frame; crops are mirrored as it mirrors.
    """
    sizes = np.zeros((len(segmentations), 2), np.int64)
    edges = np.zeros((len(segmentations), 4), np.float32)
    step_y, step_x = (-1 if to_resized.scale_y < 0 else 1), (-1 if to_resized.scale_x < 0 else 1)
    bits = [np.zeros(0, np.uint8)]
    for number, segmentation in enumerate(segmentations):
        if segmentation is None:
            continue
        crop, top, left = decode_crop(_run_length(segmentation, height, width), margin=1)
        sizes[number] = crop.shape
        edges[number] = left, top, left + crop.shape[1], top + crop.shape[0]
        bits.append(np.packbits(crop[::step_y, ::step_x]))
    return ImageBitmaps(np.concatenate(bits), sizes, to_resized.boxes(edges))


def trace_outlines(
    segmentations: Sequence[Segmentation | None], height: int, width: int, to_resized: AxisAlignedMap
) -> ImageOutlines:
    """Outlines of the masks of one image, polygons as they are and RLE along the borders of its pixels.

    Args:
        segmentations: of m objects; None for an object without a mask.
        height, width: of the image in the original frame; polygons may leave it.
        to_resized: the map into the resized frame.
    """
    outlines = [_outline(segmentation) for segmentation in segmentations]
    edges = np.concatenate([np.zeros((0, 4)), *outlines])
    ends = to_resized.points(edges.reshape(-1, 2, 2))
    if to_resized.scale_x * to_resized.scale_y < 0:
        ends = ends[:, ::-1]  # mirrored, they would turn the other way
    counts = np.array([len(outline) for outline in outlines], np.int64)
    return ImageOutlines(ends.reshape(-1, 4).astype(np.float32), counts)


def _run_length(segmentation: Segmentation, height: int, width: int) -> RunLength:
    return segmentation if isinstance(segmentation, dict) else encode_polygons(segmentation, height, width)


def _outline(segmentation: Segmentation | None) -> np.ndarray:
    """Edges [e, 4] in the original frame, with the inside on their right."""
    if segmentation is None:
        return np.zeros((0, 4))
    if isinstance(segmentation, dict):
        return _pixel_outline(*decode_crop(segmentation))
    return np.concatenate([_polygon_outline(np.array(polygon).reshape(-1, 2)) for polygon in segmentation])


def _polygon_outline(points: np.ndarray) -> np.ndarray:
    next_points = np.roll(points, -1, axis=0)
    doubled_area = np.sum(points[:, 0] * next_points[:, 1] - points[:, 1] * next_points[:, 0])
    ends = (points, next_points) if doubled_area >= 0 else (next_points, points)
    return np.concatenate(ends, axis=1)


def _pixel_outline(crop: np.ndarray, top: int, left: int) -> np.ndarray:
    """Edges of maximal length between pixels of value 1 and 0."""
    upright = _borders(crop)
    level = _borders(crop.T)[:, [1, 0, 3, 2]]
    # Where the inside begins, going right, an edge goes up; going down, it goes right.
    return np.concatenate([upright[:, [2, 3, 0, 1]], level]) + np.array([left, top, left, top], np.float64)


def _borders(crop: np.ndarray) -> np.ndarray:
    """Edges along columns: downwards where the inside is on the right of the picture, else upwards."""
    pixels = np.pad(crop, 1).astype(np.int8)
    sides = np.diff(pixels, axis=1).T  # [w + 1, h + 2], first and last of each line are 0
    is_start = (sides[:, 1:] != sides[:, :-1]) & (sides[:, 1:] != 0)
    is_end = (sides[:, 1:] != sides[:, :-1]) & (sides[:, :-1] != 0)
    column, first_row = np.nonzero(is_start)
    end_row = np.nonzero(is_end)[1]
    inside_right = sides[column, first_row + 1] > 0
    return np.stack(
        (column, np.where(inside_right, first_row, end_row), column, np.where(inside_right, end_row, first_row)), axis=1
    )
