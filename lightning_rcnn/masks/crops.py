"""Masks of single objects as crops of pixels: decoded from any form, cut to a window, moved.

A crop is made for one object at a time; no array is as large as the image unless the object is.
"""

from collections.abc import Iterator, Sequence

import numpy as np

from lightning_rcnn.masks.run_length import Crop, decode_crops
from lightning_rcnn.masks.segmentation import Segmentation, as_run_length

ObjectMask = Segmentation | Crop
"""A mask in memory: as it is stored, or as pixels after a transform, which saves encoding them."""
Window = tuple[int, int, int, int]
"""Edges (x1, y1, x2, y2) of a part of an image in pixels; it may reach beyond the image."""

NO_PIXELS = Crop(np.zeros((0, 0), np.bool_), 0, 0)


class UnreadableMaskError(ValueError):
    """A mask is neither polygons nor an RLE of its image."""


def decode_masks(masks: Sequence[ObjectMask], height: int, width: int, margin: int = 0) -> Iterator[Crop]:
    """Decode masks of one image, one after the other.

    Args:
        masks: masks of any form.
        height, width: size of the image in pixels.
        margin: see `run_length.decode_crops`; masks that are crops are returned unchanged.

    Yields:
        A crop for each mask; 0 x 0 for one without pixels in the image.

    Raises:
        UnreadableMaskError: a mask cannot be read.
    """
    try:
        stored = [as_run_length(mask, height, width) for mask in masks if not isinstance(mask, Crop)]
        decoded = decode_crops(stored, margin)
        for mask in masks:
            yield mask if isinstance(mask, Crop) else next(decoded)
    except Exception as error:  # pycocotools raises no other for what is no polygon
        raise UnreadableMaskError(str(error)) from error


def polygon_points(polygons: Sequence[Sequence[float]]) -> list[np.ndarray]:
    """Return the corners of each polygon of a mask, float64 [p, 2].

    Raises:
        UnreadableMaskError: a polygon is not a list of coordinates in pairs.
    """
    try:
        return [np.array(polygon, np.float64).reshape(-1, 2) for polygon in polygons]
    except (TypeError, ValueError) as error:
        raise UnreadableMaskError(str(error)) from error


def cut_crop(crop: Crop, window: Window, margin: int = 0) -> Crop:
    """Return the smallest crop that holds the pixels of a mask in a window.

    Args:
        crop: pixels of a mask.
        window: part of the image that is kept.
        margin: pixels of background on each side of the mask, as far as the window extends.

    Returns:
        The crop, in the frame of the image; 0 x 0 if nothing is left.
    """
    x1, y1, x2, y2 = window
    first_row, first_column = max(0, y1 - crop.top), max(0, x1 - crop.left)
    pixels = crop.pixels[first_row : max(0, y2 - crop.top), first_column : max(0, x2 - crop.left)]
    if not pixels.any():
        return NO_PIXELS
    rows, columns = _extent(pixels, axis=1), _extent(pixels, axis=0)
    top, left = crop.top + first_row + rows.start, crop.left + first_column + columns.start
    height, width = rows.stop - rows.start, columns.stop - columns.start
    above, before = min(margin, top - y1), min(margin, left - x1)
    below, after = min(margin, y2 - top - height), min(margin, x2 - left - width)
    framed = np.zeros((above + height + below, before + width + after), np.bool_)
    framed[above : above + height, before : before + width] = pixels[rows, columns]
    return Crop(framed, top - above, left - before)


def is_inside(crop: Crop, window: Window) -> bool:
    """Tell whether a crop lies in a window without reaching one of its sides."""
    x1, y1, x2, y2 = crop_edges(crop)
    return window[0] < x1 and window[1] < y1 and x2 < window[2] and y2 < window[3]


def crop_edges(crop: Crop) -> Window:
    """Return the edges of a crop in the image."""
    height, width = crop.pixels.shape
    return crop.left, crop.top, crop.left + width, crop.top + height


def overlap(first: Window, second: Window) -> Window:
    """Return the part that two windows share; without any, a window of width or height 0."""
    x1, y1 = max(first[0], second[0]), max(first[1], second[1])
    return x1, y1, max(x1, min(first[2], second[2])), max(y1, min(first[3], second[3]))


def _extent(pixels: np.ndarray, axis: int) -> slice:
    """Return the range from the first to the last row (axis 1) or column (axis 0) with a pixel that is set."""
    is_set = np.logical_or.reduce(pixels, axis=axis)
    return slice(int(is_set.argmax()), len(is_set) - int(is_set[::-1].argmax()))
