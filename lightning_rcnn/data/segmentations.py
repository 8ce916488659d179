"""Convert the segmentations of an image's objects to compact masks: bits of crops, or edges of outlines.

Polygons are rasterized in the original frame, to the same pixels as by the COCO API. No array here is as large as the
image.

Shape letters: m objects of an image, B bytes, e edges of all of them together, h and w height and width of a crop.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from lightning_rcnn.data.geometry import AxisAlignedMap
from lightning_rcnn.masks.run_length import decode_crops
from lightning_rcnn.masks.segmentation import Segmentation, as_run_length


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
    segmentations: Sequence[Segmentation | None], height: int, width: int, to_resized: AxisAlignedMap
) -> ImageBitmaps:
    """Return the bits of the masks of one image.

    Args:
        segmentations: segmentations of m objects; None for an object without a mask.
        height, width: size of the image in pixels, original frame.
        to_resized: map into the resized frame; if it mirrors, the crops are mirrored too.
    """
    sizes = np.zeros((len(segmentations), 2), np.int64)
    edges = np.zeros((len(segmentations), 4), np.float32)
    step_y, step_x = (-1 if to_resized.scale_y < 0 else 1), (-1 if to_resized.scale_x < 0 else 1)
    bits = [np.zeros(0, np.uint8)]
    present = [(number, segmentation) for number, segmentation in enumerate(segmentations) if segmentation is not None]
    crops = decode_crops([as_run_length(segmentation, height, width) for _, segmentation in present], margin=1)
    for (number, _), (pixels, top, left) in zip(present, crops, strict=True):
        sizes[number] = pixels.shape
        edges[number] = left, top, left + pixels.shape[1], top + pixels.shape[0]
        bits.append(np.packbits(pixels[::step_y, ::step_x]))
    boxes = to_resized.boxes(edges)
    boxes[sizes[:, 0] == 0] = 0
    return ImageBitmaps(np.concatenate(bits), sizes, boxes)


def trace_outlines(
    segmentations: Sequence[Segmentation | None], height: int, width: int, to_resized: AxisAlignedMap
) -> ImageOutlines:
    """Return the outlines of the masks of one image: polygons unchanged, and an RLE's pixel borders.

    Args:
        segmentations: segmentations of m objects; None for an object without a mask.
        height, width: size of the image in pixels, original frame; polygons may exceed it.
        to_resized: map into the resized frame.
    """
    outlines = _outlines(segmentations)
    edges = np.concatenate([np.zeros((0, 4)), *outlines])
    ends = to_resized.points(edges.reshape(-1, 2, 2))
    if to_resized.scale_x * to_resized.scale_y < 0:
        ends = ends[:, ::-1]  # mirroring reverses the orientation
    counts = np.array([len(outline) for outline in outlines], np.int64)
    return ImageOutlines(ends.reshape(-1, 4).astype(np.float32), counts)


def _outlines(segmentations: Sequence[Segmentation | None]) -> list[np.ndarray]:
    """Return the edges [e, 4] of each object in the original frame, with the inside on their right."""
    crops = decode_crops([segmentation for segmentation in segmentations if isinstance(segmentation, dict)])
    outlines = []
    for segmentation in segmentations:
        if segmentation is None:
            outlines.append(np.zeros((0, 4)))
        elif isinstance(segmentation, dict):
            outlines.append(_pixel_outline(*next(crops)))
        else:
            parts = [_polygon_outline(np.array(polygon).reshape(-1, 2)) for polygon in segmentation]
            outlines.append(np.concatenate(parts))
    return outlines


def _polygon_outline(points: np.ndarray) -> np.ndarray:
    next_points = np.roll(points, -1, axis=0)
    doubled_area = np.sum(points[:, 0] * next_points[:, 1] - points[:, 1] * next_points[:, 0])
    ends = (points, next_points) if doubled_area >= 0 else (next_points, points)
    return np.concatenate(ends, axis=1)


def _pixel_outline(crop: np.ndarray, top: int, left: int) -> np.ndarray:
    """Return the edges between pixels of value 1 and 0, as long as possible."""
    pixels = np.zeros((crop.shape[0] + 2, crop.shape[1] + 2), np.int8)
    pixels[1:-1, 1:-1] = crop
    y, x_from, x_to = _borders(pixels)
    x, y_to, y_from = _borders(pixels.T)  # upward where the inside begins
    edges = np.concatenate([np.array([x_from, y, x_to, y]), np.array([x, y_from, x, y_to])], axis=1).T
    return edges + np.array([left, top, left, top], np.float64)


def _borders(pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the borders between lines as (line, begin, end): forward if the next line is inside, else backward.

    Args:
        pixels: int8 [lines, pixels per line], 0 and 1, surrounded by zeros.
    """
    line_length = pixels.shape[1]
    steps = (pixels[1:] - pixels[:-1]).ravel()
    changes = np.flatnonzero(steps[1:] != steps[:-1])
    begins, ends = changes[steps[changes + 1] != 0], changes[steps[changes] != 0]
    line, begin = np.divmod(begins, line_length)
    end = ends - line * line_length
    is_forward = steps[begins + 1] > 0
    return line, np.where(is_forward, begin, end), np.where(is_forward, end, begin)
