"""Known orders of columns, for CSV files whose first line has no names."""

from collections.abc import Sequence

from lightning_rcnn.data.formats.coco.scalars import number
from lightning_rcnn.data.image_formats import NAMED_SUFFIXES

_RETINANET = ("image", "x1", "y1", "x2", "y2", "class")
_ORDERS = {6: _RETINANET, 8: (*_RETINANET, "width", "height")}
"""Number of columns -> their meanings, where the image comes first: RetinaNet's and SKU-110K's."""
_MAKE_SENSE = ("class", "x", "y", "w", "h", "image", "width", "height")
_GOOGLE = {"split": 0, "image": 1, "class": 2, "x1": 3, "y1": 4, "x2": 7, "y2": 8}
"""Google's AutoML Vision and Vertex AI: a box has four corners, of which two may be empty."""
_SETS = ("", "TRAIN", "TRAINING", "VALIDATE", "VALIDATION", "TEST", "UNASSIGNED")


def order_without_names(row: Sequence[str]) -> dict[str, int] | None:
    """Return meaning -> index of the columns, as a first row without names shows them; None if it shows none."""
    if len(row) == len(_MAKE_SENSE) and has_suffix(row[5]) and _are_numbers(row[1:5]):
        return {field: index for index, field in enumerate(_MAKE_SENSE)}
    if len(row) >= 9 and row[0].strip().upper() in _SETS and has_suffix(row[1]):
        has_box = _are_numbers([row[index] for field, index in _GOOGLE.items() if field[0] in "xy"])
        return dict(_GOOGLE) if has_box or not any(row[3:9]) else None
    if has_suffix(row[0]) and (order := _ORDERS.get(len(row))) and (number(row[1]) is not None or not any(row[1:])):
        return {field: index for index, field in enumerate(order)}
    return None


def has_suffix(name: str) -> bool:
    """Return whether a name ends like an image's."""
    return name.strip().lower().endswith(tuple(NAMED_SUFFIXES))


def _are_numbers(cells: Sequence[str]) -> bool:
    return all(number(cell) is not None for cell in cells)
