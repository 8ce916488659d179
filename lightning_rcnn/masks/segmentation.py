"""Segmentations of objects in COCO's two formats, polygons and run-length encodings."""

from math import inf
from typing import Any, TypeGuard

from pycocotools import mask as coco_mask

from lightning_rcnn.masks.polygons import is_polygon, reach
from lightning_rcnn.masks.run_length import MAX_PIXELS, RunLength, decode_runs, encode_polygons, encode_runs

Segmentation = list[list[float]] | RunLength
"""Polygons [x, y, x, y, ...] in pixels of the original frame, or a compressed RLE.

Polygons of a packed set do not touch themselves and have at most `polygons.MAX_CORNERS` corners.
"""


def as_run_length(segmentation: Segmentation, height: int, width: int) -> RunLength:
    """Convert a segmentation of an image of this size to an RLE."""
    return segmentation if isinstance(segmentation, dict) else encode_polygons(segmentation, height, width)


def checked_run_length(counts: Any, height: int, width: int) -> RunLength:
    """Validate the `counts` of an RLE and compress them if needed.

    Args:
        counts: text in which the COCO API compresses the lengths of runs, or a list of lengths.
        height, width: size of the image, pixels.

    Returns:
        A compressed RLE.

    Raises:
        ValueError: `counts` is neither, its runs do not add up to the image, or the image is larger than `MAX_PIXELS`.
    """
    if height * width > MAX_PIXELS:
        raise ValueError(f"{height} x {width} pixels are more than the COCO API counts")
    runs = decode_runs(counts).tolist() if isinstance(counts, str) else _whole_numbers(counts)
    if min(runs, default=-1) < 0 or sum(runs) != height * width:
        raise ValueError(f"its runs do not add up to {height} x {width} pixels")
    return {"size": [height, width], "counts": counts} if isinstance(counts, str) else encode_runs(runs, height, width)


def usable_run_length(segmentation: Any, height: int, width: int) -> RunLength | None:
    """Convert the usable part of a segmentation in COCO's format to an RLE; None if it has no pixel.

    Invalid polygons, and polygons outside the image, are ignored.
    """
    if isinstance(segmentation, dict):
        try:
            rle = checked_run_length(segmentation.get("counts"), height, width)
        except ValueError:
            return None
        if segmentation.get("size") != [height, width]:
            return None
    else:
        parts = segmentation if isinstance(segmentation, list) else []
        polygons = [part for part in parts if is_polygon(part) and reach(part, width, height) < inf]
        if not polygons:
            return None
        rle = encode_polygons(polygons, height, width)
    return rle if coco_mask.area(rle) else None


def is_area(value: Any) -> TypeGuard[float]:
    """Tell whether an annotation's `area` (in COCO that of the polygons) is usable: finite and not negative."""
    return isinstance(value, int | float) and 0 <= value < inf


def area_of(stated: Any, segmentation: Segmentation | None, height: int, width: int, box_area: float) -> float:
    """Choose the area that decides whether an object counts as small, square pixels.

    Args:
        stated: the annotation's `area`, of any type; None if it has none.
        segmentation: the object's segmentation; None if it has none.
        height, width: size of the image, pixels.
        box_area: area of the object's box, square pixels.

    Returns:
        The stated area if it is usable, or else the area of the mask, or else that of the box.
    """
    if is_area(stated):
        return stated
    if segmentation is not None:
        return float(coco_mask.area(as_run_length(segmentation, height, width)))
    return box_area


def _whole_numbers(counts: Any) -> list[int]:
    if not isinstance(counts, list) or not all(isinstance(run, int | float) and run % 1 == 0 for run in counts):
        raise ValueError("its counts are not a list of whole numbers")
    return [int(run) for run in counts]
