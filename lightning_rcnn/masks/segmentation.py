"""The segmentation of an object, in either of the forms that annotations have: polygons, or a run-length encoding."""

from math import inf
from typing import Any, TypeGuard

from pycocotools import mask as coco_mask

from lightning_rcnn.masks.run_length import RunLength, encode_polygons

Segmentation = list[list[float]] | RunLength
"""Polygons [x, y, x, y, ...] in pixels of the original frame, or RLE in compressed form.

In a packed set polygons do not touch themselves, and have at most `polygons.MOST_CORNERS`.
"""


def as_run_length(segmentation: Segmentation, height: int, width: int) -> RunLength:
    """The RLE of a segmentation in an image of this size."""
    return segmentation if isinstance(segmentation, dict) else encode_polygons(segmentation, height, width)


def is_area(stated: Any) -> TypeGuard[float]:
    """Whether an annotation states a usable area; in COCO it is that of the polygons."""
    return isinstance(stated, int | float) and 0 <= stated < inf


def area_of(stated: Any, segmentation: Segmentation | None, height: int, width: int, box_area: float) -> float:
    """The area that decides whether an object counts as small, in pixels.

    Args:
        stated: by the annotation; whatever stands there.
        segmentation: of the object, if it has one.
        height, width: of the image.
        box_area: of its box.

    Returns:
        What is stated, if it is an area; else the pixels of the mask; without a mask, the area of the box.
    """
    if is_area(stated):
        return stated
    if segmentation is not None:
        return float(coco_mask.area(as_run_length(segmentation, height, width)))
    return box_area
