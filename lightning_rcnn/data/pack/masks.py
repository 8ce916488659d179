"""Apply the rules for segmentations: polygons and run-length encodings (RLE).

An RLE is COCO's (see `masks/run_length.py`): `counts` is the list of runs, or the text into which the COCO API
compresses it.
"""

from typing import Any

from pycocotools import mask as coco_mask

from lightning_rcnn.data.defects import Defect
from lightning_rcnn.data.geometry import ROUNDING
from lightning_rcnn.data.pack.boxes import Edges
from lightning_rcnn.masks.frames import MIN_BOX_IOU, intersection_over_union, swapped_run_length
from lightning_rcnn.masks.polygons import has_many_corners, is_polygon, reach, touches_itself
from lightning_rcnn.masks.run_length import RunLength, edges_of_mask, encode_polygons
from lightning_rcnn.masks.segmentation import Segmentation, checked_run_length

MaskEdges = tuple[int, int, int, int] | None
"""Edges x1, y1, x2, y2 of the pixels of a mask; None if there are none."""


def check_segmentation(
    segmentation: Any, width: int, height: int, box: Edges
) -> tuple[Segmentation | None, list[Defect]]:
    """Apply the rules to the segmentation of one object.

    Args:
        segmentation: segmentation in COCO's form; None or empty if there is none.
        width, height: size of the image in pixels.
        box: edges of the object's box in pixels, within the image.

    Returns:
        The usable part of the segmentation, or None; and its defects.
    """
    if not segmentation:
        return None, []
    if isinstance(segmentation, dict):
        rle, defects = _check_rle(segmentation, width, height, box)
        if rle is None:
            return None, defects
        usable: Segmentation = rle
        edges = edges_of_mask(rle)
    else:
        polygons, defects = _check_polygons(segmentation, width, height)
        if not polygons:
            return None, defects
        usable = polygons
        rle = encode_polygons(polygons, height, width)
        edges = _edges_of_polygons(rle)
        if any(map(has_many_corners, polygons)):
            usable = rle
            defects.append(Defect.MANY_CORNERS)
        elif any(map(touches_itself, polygons)):
            usable = rle
            defects.append(Defect.CROSSED_POLYGON)
    is_usable, pixel_defects = _check_edges(edges, box)
    return usable if is_usable else None, defects + pixel_defects


def _check_polygons(segmentation: Any, width: int, height: int) -> tuple[list[list[float]], list[Defect]]:
    if not isinstance(segmentation, list) or not any(isinstance(part, list) for part in segmentation):
        return [], [Defect.BAD_MASK]
    polygons, defects = [], []
    for polygon in segmentation:
        if not is_polygon(polygon):
            defects.append(Defect.BAD_POLYGON)
            continue
        excess = reach(polygon, width, height)
        if excess == float("inf"):
            defects.append(Defect.POLYGON_OUTSIDE)
            continue
        if excess > ROUNDING:
            defects.append(Defect.POLYGON_PARTLY_OUTSIDE)
        polygons.append(polygon)
    return polygons, defects


def _check_rle(rle: dict[str, Any], width: int, height: int, box: Edges) -> tuple[RunLength | None, list[Defect]]:
    if rle.get("size") != [height, width]:
        swapped = swapped_run_length(rle, height, width, box)
        return swapped, [Defect.SWAPPED_MASK_SIZE if swapped else Defect.MASK_SIZE_MISMATCH]
    try:
        return checked_run_length(rle.get("counts"), height, width), []
    except ValueError:
        return None, [Defect.BAD_MASK]


def _edges_of_polygons(rle: RunLength) -> MaskEdges:
    """Return the edges of the pixels of polygons; the COCO API's own encoding, unlike others, has no empty runs."""
    x, y, width, height = map(int, coco_mask.toBbox(rle).tolist())
    return (x, y, x + width, y + height) if width and height else None


def _check_edges(edges: MaskEdges, box: Edges) -> tuple[bool, list[Defect]]:
    """Return whether the pixels can be the mask of the object in the box, and their defects."""
    if edges is None:
        return False, [Defect.EMPTY_MASK]
    iou = intersection_over_union(box, edges)
    if iou == 0:
        return False, [Defect.MASK_OUTSIDE_BOX]
    x1, y1, x2, y2 = edges
    defects = [Defect.THIN_MASK] if min(x2 - x1, y2 - y1) == 1 else []
    if iou < MIN_BOX_IOU and max(abs(first - second) for first, second in zip(box, edges, strict=True)) > 1:
        defects.append(Defect.MASK_BOX_MISMATCH)
    return True, defects
