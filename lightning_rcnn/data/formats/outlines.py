"""Objects of several outlines, of which those inside another one are holes."""

from collections.abc import Sequence
from functools import reduce
from math import inf

import numpy as np

from lightning_rcnn.data.formats.labeled import LabeledObject
from lightning_rcnn.data.formats.shapes import malformed, polygon_object
from lightning_rcnn.masks.polygons import is_polygon, reach
from lightning_rcnn.masks.run_length import Crop, decode_crop, encode_crop, encode_polygons

_MAX_PIXELS = 1 << 28
"""More than Pillow reads: bounds the memory of a damaged size."""


def outlined_object(
    class_name: str | None, outlines: Sequence[list[float]], width: int, height: int, place: str
) -> LabeledObject:
    """Return the object of outlines: a polygon of one; of several, the pixels inside an odd number of them.

    Args:
        class_name: name of the class.
        outlines: lists [x, y, x, y, ...] in pixels.
        width, height: size of the image, pixels.
        place: location for messages.
    """
    if len(outlines) == 1:
        return polygon_object(class_name, outlines[0], place)
    if not outlines or not 0 < width * height <= _MAX_PIXELS:
        return malformed(f"{place}: no outline, or no size of the image")
    if not all(is_polygon(outline) and reach(outline, width, height) < inf for outline in outlines):
        return malformed(f"{place}: an outline of fewer than 3 points, or outside of the image")
    crops = [decode_crop(encode_polygons([outline], height, width)) for outline in outlines]
    pixels = reduce(np.logical_xor, (_whole(crop, width, height) for crop in crops))
    return LabeledObject(class_name, segmentation=encode_crop(pixels, 0, 0, height, width), place=place)


def _whole(crop: Crop, width: int, height: int) -> np.ndarray:
    pixels = np.zeros((height, width), np.bool_)
    rows, columns = crop.pixels.shape
    pixels[crop.top : crop.top + rows, crop.left : crop.left + columns] = crop.pixels
    return pixels
