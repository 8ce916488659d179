"""Repair of run-length encodings whose size is written as [width, height]."""

from typing import Any

from lightning_rcnn.masks.run_length import RunLength, decode_crop, edges_of_mask, encode_crop
from lightning_rcnn.masks.segmentation import checked_run_length

Edges = tuple[float, float, float, float]
"""A box (x1, y1, x2, y2), pixels."""

MIN_BOX_IOU = 0.5
"""IoU of an object's box with the box around its mask below which one of them is doubtful."""


def swapped_run_length(rle: dict[str, Any], height: int, width: int, box: Edges) -> RunLength | None:
    """Repair an RLE whose size is [width, height].

    Either only the size is transposed, or the pixels are encoded row by row too. The object's box decides.

    Args:
        rle: encoding as stored in the file.
        height, width: size of the image, pixels.
        box: the object's box, which the mask must match.

    Returns:
        The RLE in the frame of the image; None if the size is not [width, height], or neither reading matches the box.
    """
    if rle.get("size") != [width, height]:
        return None
    try:
        by_columns = checked_run_length(rle.get("counts"), height, width)
        transposed = decode_crop(checked_run_length(rle.get("counts"), width, height))
    except ValueError:
        return None
    by_rows = encode_crop(transposed.pixels.T, transposed.left, transposed.top, height, width)
    for reading in (by_columns, by_rows):
        edges = edges_of_mask(reading)
        if edges and intersection_over_union(box, edges) >= MIN_BOX_IOU:
            return reading
    return None


def intersection_over_union(first: Edges, second: Edges) -> float:
    """Compute the IoU of two boxes with positive area."""
    overlap = max(min(first[2], second[2]) - max(first[0], second[0]), 0.0)
    overlap *= max(min(first[3], second[3]) - max(first[1], second[1]), 0.0)
    areas = sum((x2 - x1) * (y2 - y1) for x1, y1, x2, y2 in (first, second))
    return overlap / (areas - overlap)
