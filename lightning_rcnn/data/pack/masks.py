"""The rules for segmentations: polygons and run-length encodings (RLE) in, valid ones out.

RLE is COCO's: runs of 0 and 1 by turns, column by column, beginning with a run of 0 that may be empty; `counts` is the
list of runs, or the text into which the COCO API compresses it (`rleToString` in its sources).
"""

from math import isfinite
from typing import Any

from pycocotools import mask as coco_mask

from lightning_rcnn.data.pack.defects import Defect

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


def decode_runs(counts: str) -> list[int]:
    """The lengths of the runs in a compressed RLE.

    Six bits of each character count from "0": five of value, one that says whether more follow. From the fourth run
    on, the difference from the run before the previous one is stored.

    Raises:
        ValueError: not such a text.
    """
    runs: list[int] = []
    value, shift = 0, 0
    for character in counts:
        bits = ord(character) - ord("0")
        if not 0 <= bits < 64:
            raise ValueError(f"{character!r} cannot stand in an RLE")
        value |= (bits & 0x1F) << shift
        shift += 5
        if bits & 0x20:
            continue
        if bits & 0x10:
            value -= 1 << shift
        runs.append(value + runs[-2] if len(runs) > 2 else value)
        value, shift = 0, 0
    if shift:
        raise ValueError("the RLE ends inside of a number")
    return runs


def _is_polygon(polygon: Any) -> bool:
    if not isinstance(polygon, list) or len(polygon) < 6 or len(polygon) % 2:
        return False
    return all(isinstance(value, int | float) and isfinite(value) for value in polygon)


def _check_rle(rle: dict[str, Any], width: int, height: int) -> tuple[Segmentation | None, list[Defect]]:
    size, counts = rle.get("size"), rle.get("counts")
    try:
        runs = decode_runs(counts) if isinstance(counts, str) else list(map(int, counts or []))
    except (ValueError, TypeError):
        return None, [Defect.BAD_MASK]
    if not any(runs[1::2]) or min(runs) < 0:
        return None, [Defect.BAD_MASK]
    if size != [height, width] or sum(runs) != height * width:
        return None, [Defect.MASK_SIZE_MISMATCH]
    if isinstance(counts, str):
        return {"size": size, "counts": counts}, []
    compressed = coco_mask.frPyObjects({"size": size, "counts": runs}, height, width)
    return {"size": size, "counts": compressed["counts"].decode("ascii")}, []
