"""Tell oriented boxes (YOLO OBB) from polygons: both are lines of a class and points."""

from collections.abc import Sequence

from lightning_rcnn.data.formats.coco.scalars import number
from lightning_rcnn.data.formats.layout import Layout
from lightning_rcnn.errors import InputError

_FILES_TO_TRY = 300
_COLUMNS = 9
"""A class and four points."""
_TOLERANCE = 0.1
"""Share of the longer diagonal by which the two diagonals' middles may differ."""


def refuse_oriented(layout: Layout, labels: Sequence[str], task: str) -> None:
    """Refuse label files of oriented boxes.

    Oriented boxes are four points in every line, and most are parallelograms that are not upright. Scaling width and
    height, as shares of the image's size do, keeps a parallelogram one.

    Args:
        layout: files of the data set.
        labels: label files.
        task: task that the data set's YAML file states, or "".

    Raises:
        InputError: the boxes are oriented.
    """
    num_tilted = num_lines = 0
    for label in labels[:: max(1, len(labels) // _FILES_TO_TRY)]:
        for line in layout.lines(label, 1000):
            parts = line.split()
            if len(parts) != _COLUMNS and task != "obb":
                return
            num_lines += 1
            num_tilted += _is_tilted(parts)
    if task == "obb" or 2 * num_tilted > num_lines:
        raise InputError(
            f"{layout.path}: oriented boxes (YOLO OBB), each line is a class and four points; detectors here have "
            "upright boxes; if the points are polygons, add --quadrilaterals polygons for masks and upright boxes"
        )


def is_dota_line(line: str) -> bool:
    """Return whether a line is one of DOTA, as Roboflow writes them, too: four points, a class, a difficulty."""
    parts = line.split()
    is_named = len(parts) in (9, 10) and number(parts[8]) is None
    return is_named and all(number(part) is not None for part in (*parts[:8], *parts[9:]))


def refuse_dota(layout: Layout) -> None:
    """Refuse a data set with lines of DOTA's.

    Raises:
        InputError: a text file has one.
    """
    for file in layout.with_suffix(".txt", among=layout.all_files):
        if any(map(is_dota_line, layout.lines(file, 3))):
            raise InputError(
                f"{layout.root / file}: oriented boxes (DOTA), each line is four points and a class; detectors here "
                "have upright boxes, so export another format, or yield the samples from Python with `pack_samples`"
            )


def _is_tilted(parts: Sequence[str]) -> bool:
    """Return whether a line is a parallelogram with a side that is neither horizontal nor vertical."""
    try:
        x1, y1, x2, y2, x3, y3, x4, y4 = map(float, parts[1:])
    except ValueError:
        return False
    diagonal = max(abs(x3 - x1) + abs(y3 - y1), abs(x4 - x2) + abs(y4 - y2))
    is_parallelogram = max(abs(x1 + x3 - x2 - x4), abs(y1 + y3 - y2 - y4)) <= 2 * _TOLERANCE * diagonal
    is_upright = min(abs(x2 - x1), abs(y2 - y1)) < 1e-3 and min(abs(x4 - x1), abs(y4 - y1)) < 1e-3
    return is_parallelogram and not is_upright
