"""Read the segmentation of an annotation or a result, in any of its spellings.

The result is polygons [[x, y, x, y, ...], ...] or an RLE {"size": [height, width], "counts": text or runs}. The pixels
are not checked here; the rules for masks do that.
"""

import ast
from collections.abc import Sequence
from typing import Any

from lightning_rcnn.data.formats.coco.boxes import Box, edges_of
from lightning_rcnn.data.formats.coco.scalars import number, numbers, unquoted, whole_number
from lightning_rcnn.data.formats.coco.sizes import MAX_SIDE
from lightning_rcnn.masks.polygons import is_polygon
from lightning_rcnn.masks.run_length import edges_of_mask
from lightning_rcnn.masks.segmentation import checked_run_length


def read_segmentation(value: Any) -> Any:
    """Return polygons or an RLE; None for nothing ([], [[]], {}); anything else unchanged.

    Args:
        value: value in the file: polygons, one flat polygon, points [x, y] or {"x": x, "y": y}, an RLE, or an RLE in a
            list. The numbers or the whole value may be text.
    """
    value = unquoted(value)
    if isinstance(value, list) and len(value) == 1 and _is_rle(value[0]):
        value = value[0]
    if isinstance(value, dict):
        return _read_rle(value) if value else None
    if isinstance(value, list):
        return [part for part in _read_polygons(value) if part != []] or None
    return value or None


def box_of_segmentation(segmentation: Any) -> Box | None:
    """Return the box around a result of `read_segmentation`; None if it has no usable pixel."""
    if isinstance(segmentation, dict):
        return _box_of_rle(segmentation)
    polygons = [part for part in segmentation if is_polygon(part)] if isinstance(segmentation, list) else []
    if not polygons:
        return None
    x, y = min(min(part[0::2]) for part in polygons), min(min(part[1::2]) for part in polygons)
    right, bottom = max(max(part[0::2]) for part in polygons), max(max(part[1::2]) for part in polygons)
    return x, y, right - x, bottom - y


def frame_of_segmentations(segmentations: Sequence[Any]) -> tuple[int, int]:
    """Return the (width, height) of the image that segmentations imply: an RLE's size or the polygons' extent."""
    sizes = (_size(value) for value in segmentations if isinstance(value, dict))
    if size := next((size for size in sizes if size), None):
        return size[1], size[0]
    corners = [edges_of(box)[2:] for box in map(box_of_segmentation, segmentations) if box]
    right, bottom = max((x for x, _ in corners), default=0), max((y for _, y in corners), default=0)
    return int(min(right, MAX_SIDE - 1)) + 1, int(min(bottom, MAX_SIDE - 1)) + 1


def _read_polygons(value: list[Any]) -> list[Any]:
    if (flat := numbers(value)) is not None:
        return [flat]
    value = [unquoted(part) for part in value]
    points = [_point(part) for part in value]
    if None not in points:
        return [[coordinate for point in points if point is not None for coordinate in point]]
    return [polygon for part in value for polygon in (_read_polygons(part) if isinstance(part, list) else [part])]


def _point(value: Any) -> list[float] | None:
    if isinstance(value, dict) and value.keys() >= {"x", "y"}:
        value = [value["x"], value["y"]]
    point = numbers(value) if isinstance(value, list) and len(value) == 2 else None
    return point


def _is_rle(value: Any) -> bool:
    return isinstance(value, dict) and "counts" in value


def _read_rle(rle: dict[str, Any]) -> dict[str, Any]:
    size = unquoted(rle.get("size"))
    parsed_size = [whole_number(side) for side in size] if isinstance(size, list) else [None]
    return {"size": size if None in parsed_size else parsed_size, "counts": _read_counts(rle.get("counts"))}


def _read_counts(counts: Any) -> Any:
    """Return the compressed text or the runs; Python's b'...' around a text is removed."""
    if isinstance(counts, str) and counts[:2] in ("b'", 'b"') and counts[-1:] == counts[1] and len(counts) > 3:
        try:
            counts = ast.literal_eval(counts).decode("latin-1")
        except (ValueError, SyntaxError):
            return counts
    runs = counts
    if isinstance(counts, str) and counts.startswith("[") and counts.endswith("]") and "," in counts:
        runs = unquoted(counts)
    if isinstance(runs, list):
        return [run if (parsed := number(run)) is None else parsed for run in runs]
    return counts


def _size(rle: dict[str, Any]) -> tuple[int, int] | None:
    """Return height and width."""
    size = rle.get("size")
    if not isinstance(size, list) or len(size) != 2:
        return None
    if not all(isinstance(side, int) and 0 < side <= MAX_SIDE for side in size):
        return None
    return size[0], size[1]


def _box_of_rle(rle: dict[str, Any]) -> Box | None:
    size = _size(rle)
    if size is None:
        return None
    try:
        edges = edges_of_mask(checked_run_length(rle.get("counts"), *size))
    except ValueError:
        return None
    if edges is None:
        return None
    x1, y1, x2, y2 = map(float, edges)
    return x1, y1, x2 - x1, y2 - y1
