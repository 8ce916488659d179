"""The rules for segmentations: polygons and run-length encodings (RLE) in, valid ones out.

RLE is COCO's: runs of 0 and 1 by turns, column by column, beginning with a run of 0 that may be empty; `counts` is the
list of runs, or the text into which the COCO API compresses it (`rleToString` in its sources).
"""

from math import isfinite
from typing import Any

from lightning_rcnn.data.pack.defects import Defect
from lightning_rcnn.masks.run_length import decode_runs, encode_runs

Segmentation = list[list[float]] | dict[str, Any]
"""Polygons [x, y, x, y, ...], or RLE {"size": [height, width], "counts": str}."""


def check_segmentation(segmentation: Any, width: int, height: int) -> tuple[Segmentation | None, list[Defect]]:
    """Apply the rules to the segmentation of one object.

    Args:
        segmentation: as it stands in a COCO annotation; None or an empty list where there is none.
        width, height: of the image in pixels.

    Returns:
        The usable part of it, with RLE in compressed form, or None; and what was wrong with it.
    """
    if not segmentation:
        return None, []
    if isinstance(segmentation, dict):
        return _check_rle(segmentation, width, height)
    if not isinstance(segmentation, list):
        return None, [Defect.BAD_MASK]
    polygons = [polygon for polygon in segmentation if _is_polygon(polygon)]
    defects = [Defect.BAD_POLYGON] * (len(segmentation) - len(polygons))
    return polygons or None, defects


def _is_polygon(polygon: Any) -> bool:
    if not isinstance(polygon, list) or len(polygon) < 6 or len(polygon) % 2:
        return False
    return all(isinstance(value, int | float) and isfinite(value) for value in polygon)


def _check_rle(rle: dict[str, Any], width: int, height: int) -> tuple[Segmentation | None, list[Defect]]:
    size, counts = rle.get("size"), rle.get("counts")
    try:
        runs = decode_runs(counts).tolist() if isinstance(counts, str) else list(map(int, counts or []))
    except (ValueError, TypeError):
        return None, [Defect.BAD_MASK]
    if not any(runs[1::2]) or min(runs) < 0:
        return None, [Defect.BAD_MASK]
    if size != [height, width] or sum(runs) != height * width:
        return None, [Defect.MASK_SIZE_MISMATCH]
    if isinstance(counts, str):
        return {"size": size, "counts": counts}, []
    return encode_runs(runs, height, width), []
