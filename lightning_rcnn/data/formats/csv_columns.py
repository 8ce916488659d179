"""Recognize the columns of a CSV file, by their names or by their known order, and read its rows."""

import csv
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

from lightning_rcnn.data.formats.csv_orders import has_suffix, order_without_names
from lightning_rcnn.data.formats.layout import Layout, read_text
from lightning_rcnn.errors import InputError

FIELDS = (
    *("image", "class", "x1", "y1", "x2", "y2", "x", "y", "w", "h", "cx", "cy", "bbox"),
    *("width", "height", "crowd", "group", "split"),
)
"""Meanings of a column: image and class names, edges, upper left corner, center, size of the box, x y w h in one cell,
size of the image, whether it is a group of objects, the group of images that stay in one split, and the split."""
_NAMES = {
    "image": "image filename file_name file imagename image_name img path filepath file_path image_path image_id "
    "imageid img_path image_file",
    "class": "class label labelname label_name category class_name classname name category_name cell_type object "
    "annotation_tag",
    "x1": "x1 xmin x_min left xtl min_x minx bbox_x1 xmin_ x_1 upper_left_corner_x roi.x1",
    "y1": "y1 ymin y_min top ytl min_y miny bbox_y1 y_1 upper_left_corner_y roi.y1",
    "x2": "x2 xmax x_max right xbr max_x maxx bbox_x2 x_2 lower_right_corner_x roi.x2",
    "y2": "y2 ymax y_max bottom ybr max_y maxy bbox_y2 y_2 lower_right_corner_y roi.y2",
    "x": "x bbox_x",
    "y": "y bbox_y",
    "w": "w bbox_width bbox_w box_width box_w",
    "h": "h bbox_height bbox_h box_height box_h",
    "cx": "cx x_center xcenter center_x bbox_cx",
    "cy": "cy y_center ycenter center_y bbox_cy",
    "bbox": "bbox box bounding_box",
    "width": "width image_width img_width imagewidth",
    "height": "height image_height img_height imageheight",
    "crowd": "isgroupof iscrowd is_crowd",
    "group": "patient patient_id video video_id",
    "split": "split subset partition",
}
_MEANINGS = {name: field for field, names in _NAMES.items() for name in names.split()}
_CLASS_NUMBERS = ("classid", "class_id", "categoryid", "category_id", "labelid", "label_id")
"""Names of columns of the class's number, which is its name where no other column has one."""
BOXES = (("x1", "y1", "x2", "y2"), ("x", "y", "w", "h"), ("cx", "cy", "w", "h"), ("bbox",))
_EDGES = ("x1", "y1", "x2", "y2", "x", "y", "w", "h", "cx", "cy", "bbox")
"""Meanings of a box."""
_NUMBER = re.compile(r"[\[(\s]*[-+]?\.?\d")
"""Beginning of a number, or of several in one cell."""
_CORNERS = (("x", "y"), ("cx", "cy"), ("x1", "y1"))
"""What a width and a height may belong to; left and top are of a box in either form."""
_EXCEL = re.compile(r"\s*\"?sep=(.?)\"?\s*$", re.IGNORECASE)
"""The first line of files for Excel, which names the separator; a tab at its end is lost where lines are stripped."""
csv.field_size_limit(2**31 - 1)
"""Of the process: masks and polygons in a cell may be longer than the 131072 characters that Python allows at first."""
_WAY_OUT = "if it has no boxes, give the other files instead of their folder"


class Table(NamedTuple):
    """A CSV file.

    Attributes:
        columns: meaning -> index of the column.
        names: names of the columns in the first row; empty if it has none.
        delimiter: character between the columns.
        num_columns: number of columns.
        assumes_size: whether columns named like the size of the image are taken for the box's, which nobody stated.
    """

    columns: dict[str, int]
    names: tuple[str, ...]
    delimiter: str
    num_columns: int
    assumes_size: bool = False

    @property
    def unknown(self) -> list[int]:
        """Indices of the columns whose names have no meaning."""
        known = self.columns.values()
        return [index for index, name in enumerate(self.names) if index not in known and _meaning_of(name) is None]


def recognize_table(layout: Layout, file: str, columns: Mapping[str, str] = MappingProxyType({})) -> Table | None:
    """Return the columns of a CSV file; None if it has no image or no box."""
    lines = layout.lines(file, 5)
    separator = _EXCEL.match(lines[0]) if lines else None
    lines = lines[1:] if separator else lines
    if not lines:
        return None
    delimiter = (separator[1] or "\t") if separator else max(",;\t", key=lines[0].count)
    first = next(csv.reader([lines[0]], delimiter=delimiter))
    names = [name.strip().lstrip("\ufeff") for name in first]
    stated = _stated(names, columns, file)
    if columns and all(map(str.isdigit, columns.values())) and not _are_names(names, stated):
        return Table(stated, (), delimiter, len(names)) if _is_complete(stated) else None
    found = _by_name(names, stated)
    if "image" not in found and (column := _files_column(names, found, lines[1:], delimiter)) is not None:
        found["image"] = column
    if _is_complete(found):
        assumes_size = "w" in found and "w" not in columns and _meaning_of(names[found["w"]]) == "width"
        return Table(found, tuple(names), delimiter, len(names), assumes_size)
    order = None if columns else order_without_names(first)
    return None if order is None else Table(order, (), delimiter, min(len(first), 1 + max(order.values())))


def _stated(names: Sequence[str], columns: Mapping[str, str], file: str) -> dict[str, int]:
    """Return meaning -> index of the columns that are given, by name or by number from 1."""
    stated = {}
    for field, name in columns.items():
        index = int(name) - 1 if name.isdigit() else names.index(name) if name in names else None
        if index is None:
            raise InputError(f"{file}: has no column {name!r}; it has {', '.join(names)}; {_WAY_OUT}")
        if not 0 <= index < len(names):
            raise InputError(f"{file}: has no column {name} for {field}; it has {len(names)}, from 1; {_WAY_OUT}")
        stated[field] = index
    return stated


def _are_names(first: Sequence[str], stated: Mapping[str, int]) -> bool:
    """Tell whether a first row has names, where columns are given by number.

    It has none if it names the file of an image. Else it has if there is no number where the box has one; if numbers
    tell nothing of the box, names do.
    """
    if "image" in stated and has_suffix(first[stated["image"]]):
        return False
    cells = [first[index] for field, index in stated.items() if field in _EDGES]
    if cells:
        return any(cell and not _NUMBER.match(cell) for cell in cells)
    return _is_complete(_by_name(first, stated))


def _by_name(names: Sequence[str], stated: Mapping[str, int]) -> dict[str, int]:
    """Return meaning -> index of the columns: those given, which have no other meaning, and those known by name."""
    found = dict(stated)
    other_box = _EDGES if _has_box(stated) else ()
    for index, name in enumerate(names):
        meaning = _meaning_of(name)
        if meaning is not None and meaning not in other_box and index not in stated.values():
            found.setdefault(meaning, index)
    numbers = [index for index, name in enumerate(names) if name.lower() in _CLASS_NUMBERS]
    if "class" not in found and numbers and numbers[0] not in found.values():
        found["class"] = numbers[0]
    corner = next((pair for pair in _CORNERS if set(pair) <= found.keys()), None)
    is_image_size = bool({"width", "height"} & stated.keys() or {"w", "h", "x2", "y2", "bbox"} & found.keys())
    if corner is not None and {"width", "height"} <= found.keys() and not is_image_size:
        found |= {"w": found.pop("width"), "h": found.pop("height")}
    if corner == ("x1", "y1") and {"w", "h"} <= found.keys() and not _has_box(found):
        found |= {"x": found.pop("x1"), "y": found.pop("y1")}
    return found


def _files_column(names: Sequence[str], found: Mapping[str, int], lines: Sequence[str], delimiter: str) -> int | None:
    """Return the index of the one column without a known name whose cells are names of image files, as `frame`'s."""
    rows = [row for row in csv.reader(lines, delimiter=delimiter) if len(row) == len(names)]
    columns = [
        index
        for index in range(len(names))
        if index not in found.values() and rows and all(has_suffix(row[index].strip()) for row in rows)
    ]
    return columns[0] if len(columns) == 1 else None


def _meaning_of(name: str) -> str | None:
    return _MEANINGS.get(name.lower().replace(" ", "_"))


def _plain(names: Sequence[str]) -> tuple[str, ...]:
    return tuple(name.strip().lstrip("\ufeff").casefold() for name in names)


def _has_box(columns: Mapping[str, int]) -> bool:
    return any(set(box) <= columns.keys() for box in BOXES)


def _is_complete(columns: Mapping[str, int]) -> bool:
    return "image" in columns and _has_box(columns)


def cell_of(row: Sequence[str], table: Table, field: str) -> str:
    """Return the text in the column of a meaning; "" if the row ends before it."""
    index = table.columns[field]
    return row[index].strip() if index < len(row) else ""


def rows_of(path: Path, table: Table) -> Iterator[tuple[int, list[str]]]:
    """Yield the number of each line and its cells; text in UTF-8, or in UTF-16 with its mark.

    Rows of names are left out, also between others, where files were put one behind the other.

    Raises:
        InputError: it cannot be read.
    """
    names = _plain(table.names)
    lines = read_text(path).splitlines()
    skipped = int(bool(lines and _EXCEL.match(lines[0])))
    reader = csv.reader(lines[skipped:], delimiter=table.delimiter)
    try:
        for row in reader:
            has_names = _plain(row[:1]) == names[:1] and _plain(row) == names
            if any(map(str.strip, row)) and not has_names:
                yield reader.line_num + skipped, row
    except csv.Error as error:
        raise InputError(f"{path}: line {reader.line_num + skipped}: malformed CSV ({error}); correct it") from error
