"""Objects of several outlines: polygons with holes, and outlines whose overlaps are outside."""

from collections.abc import Callable, Sequence
from functools import reduce
from math import inf

import numpy as np

from lightning_rcnn.data.formats.labeled import LabeledObject
from lightning_rcnn.data.formats.shapes import malformed, polygon_object
from lightning_rcnn.masks.polygons import is_polygon, reach
from lightning_rcnn.masks.run_length import MAX_PIXELS, decode_crop, encode_crop, encode_polygons

_MAX_PIXELS = 1 << 28
"""Pixels of the part of an image that is filled: bounds the memory of damaged points."""


def even_odd_object(
    class_name: str | None, outlines: Sequence[list[float]], width: int, height: int, place: str
) -> LabeledObject:
    """Return the object of outlines: a polygon of one; of several, the pixels inside an odd number of them.

    Args:
        class_name: name of the class.
        outlines: lists [x, y, x, y, ...] in pixels.
        width, height: size of the image, pixels.
        place: location for messages.
    """
    return _combined(class_name, outlines, np.logical_xor, width, height, place)


def object_with_holes(
    class_name: str | None, outline: list[float], holes: Sequence[list[float]], width: int, height: int, place: str
) -> LabeledObject:
    """Return the object of an outline without its holes, which may overlap each other or leave the outline.

    Args:
        class_name: name of the class.
        outline: list [x, y, x, y, ...] in pixels.
        holes: lists in the same form; those without an area, or outside of the image, take nothing away.
        width, height: size of the image, pixels.
        place: location for messages.
    """
    real = [hole for hole in holes if is_polygon(hole) and (not width or reach(hole, width, height) < inf)]
    return _combined(class_name, [outline, *real], np.greater, width, height, place)


def _combined(
    class_name: str | None,
    outlines: Sequence[list[float]],
    combine: Callable[[np.ndarray, np.ndarray], np.ndarray],
    width: int,
    height: int,
    place: str,
) -> LabeledObject:
    """Return the object of one polygon, or of the pixels of several, combined one after the other."""
    if len(outlines) == 1:
        return polygon_object(class_name, outlines[0], place)
    if not outlines or min(width, height) < 1 or width * height > MAX_PIXELS:
        return malformed(f"{place}: no outline, or no size of the image")
    if not all(is_polygon(outline) and reach(outline, width, height) < inf for outline in outlines):
        return malformed(f"{place}: an outline of fewer than 3 points, or outside of the image")
    top, left, bottom, right = window = _window(outlines, width, height)
    if (bottom - top) * (right - left) > _MAX_PIXELS:
        return malformed(
            f"{place}: its outlines with holes span {right - left} x {bottom - top} pixels, too many to fill"
        )
    pixels = reduce(combine, (_pixels(outline, width, height, window) for outline in outlines))
    return LabeledObject(class_name, segmentation=encode_crop(pixels, top, left, height, width), place=place)


def _window(outlines: Sequence[list[float]], width: int, height: int) -> tuple[int, int, int, int]:
    """Return top, left, bottom and right of the part of the image that outlines may touch."""
    points = np.concatenate([np.asarray(outline).reshape(-1, 2) for outline in outlines])
    left, top = np.clip(np.floor(points.min(axis=0)).astype(int) - 1, 0, (width, height))
    right, bottom = np.clip(np.ceil(points.max(axis=0)).astype(int) + 2, 0, (width, height))
    return int(top), int(left), int(bottom), int(right)


def _pixels(outline: list[float], width: int, height: int, window: tuple[int, int, int, int]) -> np.ndarray:
    """Return the pixels bool [h, w] of a polygon in a part of the image."""
    crop = decode_crop(encode_polygons([outline], height, width))
    top, left, bottom, right = window
    pixels = np.zeros((bottom - top, right - left), np.bool_)
    rows, columns = crop.pixels.shape
    pixels[crop.top - top : crop.top - top + rows, crop.left - left : crop.left - left + columns] = crop.pixels
    return pixels
