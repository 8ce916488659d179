"""The segmentation of an object, in either of the forms that annotations have: polygons, or a run-length encoding."""

from math import inf
from typing import Any, TypeGuard

from pycocotools import mask as coco_mask

from lightning_rcnn.masks.polygons import is_polygon, reach
from lightning_rcnn.masks.run_length import RunLength, decode_runs, encode_polygons, encode_runs

Segmentation = list[list[float]] | RunLength
"""Polygons [x, y, x, y, ...] in pixels of the original frame, or RLE in compressed form.

In a packed set polygons do not touch themselves, and have at most `polygons.MOST_CORNERS`.
"""


def as_run_length(segmentation: Segmentation, height: int, width: int) -> RunLength:
    """The RLE of a segmentation in an image of this size."""
    return segmentation if isinstance(segmentation, dict) else encode_polygons(segmentation, height, width)


def checked_run_length(counts: Any, height: int, width: int) -> RunLength:
    """The RLE in compressed form, of whatever stands for `counts` in one that has the size of its image.

    Args:
        counts: the text into which the COCO API compresses the lengths, or a list of them.
        height, width: of the image.

    Raises:
        ValueError: it is neither, or the runs are not those of such an image.
    """
    runs = decode_runs(counts).tolist() if isinstance(counts, str) else _whole_numbers(counts)
    if min(runs, default=-1) < 0 or sum(runs) != height * width:
        raise ValueError(f"its runs do not add up to {height} x {width} pixels")
    return {"size": [height, width], "counts": counts} if isinstance(counts, str) else encode_runs(runs, height, width)


def usable_run_length(segmentation: Any, height: int, width: int) -> RunLength | None:
    """The RLE of what can be used of a segmentation in COCO's form; None where that has no pixel.

    Polygons that are none, or that lie outside of the image, do not count.
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


def _whole_numbers(counts: Any) -> list[int]:
    if not isinstance(counts, list) or not all(isinstance(run, int | float) and run % 1 == 0 for run in counts):
        raise ValueError("not a list of whole numbers")
    return [int(run) for run in counts]
