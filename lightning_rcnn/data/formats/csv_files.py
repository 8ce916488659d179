"""Read CSV files with a box a line, by the names of their columns or by known orders of columns without names.

| kind | columns |
|---|---|
| TensorFlow's object detection API, Roboflow | `filename, width, height, class, xmin, ymin, xmax, ymax` |
| RetinaNet | `path, x1, y1, x2, y2, class`, without names; an image without objects has its path only |
| SKU-110K | `image, x1, y1, x2, y2, class, width, height`, without names |
| Open Images, also FiftyOne's | `ImageID, ..., LabelName, ..., XMin, XMax, YMin, YMax, ..., IsGroupOf, ...`, shares |
| Global Wheat and others | `image_id, width, height, bbox`, where bbox is [x, y, width, height] |

Columns of other names are given as `--columns image=photo,x1=left,...`.
"""

import csv
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from lightning_rcnn.data.defects import Defect
from lightning_rcnn.data.formats.annotation_files import ImageNames, splits_of_files
from lightning_rcnn.data.formats.coco.boxes import read_box
from lightning_rcnn.data.formats.coco.relative import are_relative
from lightning_rcnn.data.formats.coco.scalars import flag, number, whole_number
from lightning_rcnn.data.formats.labeled import LabeledData, LabeledImage, LabeledObject, Labels
from lightning_rcnn.data.formats.layout import Layout, read_text
from lightning_rcnn.data.formats.shapes import class_name_of
from lightning_rcnn.data.formats.splits import split_of
from lightning_rcnn.data.image_formats import NAMED_SUFFIXES
from lightning_rcnn.errors import InputError

FIELDS = (
    *("image", "class", "x1", "y1", "x2", "y2", "x", "y", "w", "h", "cx", "cy", "bbox"),
    *("width", "height", "crowd", "group", "split"),
)
"""Meanings of a column: image and class names, edges, upper left corner, center, size of the box, x y w h in one cell,
size of the image, whether it is a group of objects, the group of images that stay in one split, and the split."""
ONLY_CLASS = "object"
_NAMES = {
    "image": "image filename file_name file imagename image_name img path filepath file_path image_path image_id "
    "imageid img_path image_file",
    "class": "class label labelname label_name category class_name classname name category_name cell_type object",
    "x1": "x1 xmin x_min left xtl min_x minx bbox_x1 xmin_ x_1",
    "y1": "y1 ymin y_min top ytl min_y miny bbox_y1 y_1",
    "x2": "x2 xmax x_max right xbr max_x maxx bbox_x2",
    "y2": "y2 ymax y_max bottom ybr max_y maxy bbox_y2",
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
_BOXES = (("x1", "y1", "x2", "y2"), ("x", "y", "w", "h"), ("cx", "cy", "w", "h"), ("bbox",))
_CORNERS = (("x", "y"), ("cx", "cy"), ("x1", "y1"))
"""What a width and a height may belong to; left and top are of a box in either form."""
_RETINANET = ("image", "x1", "y1", "x2", "y2", "class")
_WITHOUT_NAMES = {6: _RETINANET, 8: (*_RETINANET, "width", "height"), 5: _RETINANET[:5]}
"""Number of columns -> their meanings, for files without names."""


class Table(NamedTuple):
    """A CSV file.

    Attributes:
        columns: meaning -> index of the column.
        has_names: whether the first row has the names.
        delimiter: character between the columns.
        num_columns: number of columns.
    """

    columns: dict[str, int]
    has_names: bool
    delimiter: str
    num_columns: int


def read_csv(layout: Layout, columns: Mapping[str, str] | None = None) -> LabeledData:
    """List a data set of CSV files.

    Args:
        layout: folder of the data set, or one CSV file with its images beside it.
        columns: meaning (see `FIELDS`) -> name of the column, or its number from 1; the others are recognized.

    Raises:
        InputError: there is no CSV file with an image and a box a line.
    """
    tables = {}
    for file in _csv_files(layout):
        table = recognize_table(layout, file, columns or {})
        if table is not None:
            tables[file] = table
    if not tables:
        raise InputError(
            f"{layout.path}: no CSV file with columns for an image and a box; name them, for example with "
            "`--columns image=photo,x1=left,y1=top,x2=right,y2=bottom,class=kind`"
        )
    named = _names_of_classes(layout)
    images: defaultdict[str, list[LabeledImage]] = defaultdict(list)
    for file, table in tables.items():
        for key, listed in _read_table(layout, file, table, named).items():
            images[key] += listed
    has_classes = all("class" in table.columns for table in tables.values())
    notes = () if has_classes else (f"no column for the class, so all objects are {ONLY_CLASS}",)
    used = {each.class_name for listed in images.values() for image in listed for each in _objects(image)}
    order = [name for name in named.values() if name in used]
    class_names = list(dict.fromkeys(order)) if named and used <= {*order, None} else None
    return LabeledData(", ".join(tables), splits_of_files(layout, images), class_names, notes)


def recognize_table(layout: Layout, file: str, columns: Mapping[str, str] | None = None) -> Table | None:
    """Return the columns of a CSV file; None if it has no image or no box."""
    lines = layout.lines(file, 5)
    if not lines:
        return None
    delimiter = max(",;\t", key=lines[0].count)
    first = next(csv.reader([lines[0]], delimiter=delimiter))
    names = [name.strip().lstrip("\ufeff") for name in first]
    found = _by_name(names, columns or {}, file)
    if _is_complete(found):
        return Table(found, True, delimiter, len(names))
    order = _WITHOUT_NAMES.get(len(first))
    is_row = len(first) > 5 and _has_suffix(first[0]) and (number(first[1]) is not None or not any(first[1:]))
    if columns:
        numbered = {field: int(name) - 1 for field, name in columns.items() if name.isdigit()}
        return Table(numbered, False, delimiter, len(first)) if _is_complete(numbered) else None
    if order is None or not is_row:
        return None
    return Table({field: index for index, field in enumerate(order)}, False, delimiter, len(order))


def _by_name(names: Sequence[str], columns: Mapping[str, str], file: str) -> dict[str, int]:
    lowered = [name.lower().replace(" ", "_") for name in names]
    found: dict[str, int] = {}
    for index, name in enumerate(lowered):
        if (meaning := _MEANINGS.get(name)) is not None:
            found.setdefault(meaning, index)
    for meaning, name in columns.items():
        if name in names:
            found[meaning] = names.index(name)
        elif not name.isdigit():
            raise InputError(f"{file}: has no column {name!r}; it has {', '.join(names)}")
    corner = next((pair for pair in _CORNERS if set(pair) <= found.keys()), None)
    is_image_size = bool({"width", "height"} & columns.keys() or {"w", "h", "x2", "y2", "bbox"} & found.keys())
    if corner is not None and {"width", "height"} <= found.keys() and not is_image_size:
        found |= {"w": found.pop("width"), "h": found.pop("height")}
    if corner == ("x1", "y1") and {"w", "h"} <= found.keys() and not _has_box(found):
        found |= {"x": found.pop("x1"), "y": found.pop("y1")}
    return found


def _has_box(columns: Mapping[str, int]) -> bool:
    return any(set(box) <= columns.keys() for box in _BOXES)


def _is_complete(columns: Mapping[str, int]) -> bool:
    return "image" in columns and _has_box(columns)


def _has_suffix(name: str) -> bool:
    return name.lower().endswith(tuple(NAMED_SUFFIXES))


def _csv_files(layout: Layout) -> list[str]:
    return layout.with_suffix(".csv", ".tsv") or ([layout.path.name] if layout.path.is_file() else [])


def _names_of_classes(layout: Layout) -> dict[str, str]:
    """Return written class -> name, from the lists of Open Images (id, name) and RetinaNet (name, number)."""
    named: dict[str, str] = {}
    for file in layout.with_suffix(".csv", among=layout.all_files):
        if "class-descriptions" in file:
            listed = csv.reader(read_text(layout.root / file).splitlines())
            named |= {row[0]: row[1].strip() for row in listed if len(row) == 2}
            continue
        rows = [row for row in csv.reader(layout.lines(file, 10_000)) if len(row) == 2]
        if rows and len(rows) == len(layout.lines(file, 10_000)) and "class" in file.rpartition("/")[2].lower():
            numbers = [whole_number(row[1]) for row in rows]
            if all(row[0].startswith("/m/") for row in rows):  # FiftyOne's copy of Open Images
                named |= {row[0]: row[1].strip() for row in rows}
            elif None not in numbers:
                named |= {
                    name: name
                    for _, (name, _) in sorted(zip(numbers, rows, strict=True), key=lambda pair: pair[0] or 0)
                }
    return named


def _read_table(layout: Layout, file: str, table: Table, named: Mapping[str, str]) -> dict[str, list[LabeledImage]]:
    """Return the images of a file with their objects, in the order of their first lines.

    They are by a path that tells their split: the file's, or one of the split that a column names for every image.
    """
    names = ImageNames(layout, file)
    objects: dict[str, list[LabeledObject]] = {}
    sizes: dict[str, tuple[int, int]] = {}
    stated: dict[str, dict[str, str]] = {"group": {}, "split": {}}
    for line, row in _rows(layout.root / file, table):
        place = f"{file}, line {line}"
        image = _cell(row, table, "image")
        if not image:
            continue
        listed = objects.setdefault(image, [])
        for field in stated.keys() & table.columns.keys():
            _add(stated[field], image, _cell(row, table, field), field, place)
        if {"width", "height"} <= table.columns.keys():
            sizes.setdefault(image, _size(row, table))
        if any(cell.strip() for index, cell in enumerate(row) if index in _box_columns(table)):
            listed.append(_read_row(row, table, named, place))
    edges = [each.edges for listed in objects.values() for each in listed if each.edges is not None]
    is_open_images = "crowd" in table.columns and all(min(edge) >= 0 and max(edge) <= 1 for edge in edges)
    is_relative = is_open_images or are_relative(edges)
    splits = {image: split_of(f"{split}/-") for image, split in stated["split"].items()}
    has_splits = len(splits) == len(objects) and all(splits.values())
    images: defaultdict[str, list[LabeledImage]] = defaultdict(list)
    for image, listed in objects.items():
        if is_relative:
            listed = [each._replace(is_relative=True) for each in listed]
        size = None if is_relative or not sizes else sizes.get(image, (0, 0))
        key = f"{splits[image]}/-" if has_splits else file
        group = stated["group"].get(image, "")
        images[key].append(LabeledImage(names.find(image), Labels(listed, size), file, group=group))
    return images


def _add(stated: dict[str, str], image: str, value: str, field: str, place: str) -> None:
    if value and stated.setdefault(image, value) != value:
        raise InputError(
            f"{place}: {image} is in the {field}s {stated[image]!r} and {value!r}; give it one {field}, or name "
            f"another column with --columns {field}=NAME"
        )


def _cell(row: Sequence[str], table: Table, field: str) -> str:
    index = table.columns[field]
    return row[index].strip() if index < len(row) else ""


def _rows(path: Path, table: Table) -> Iterator[tuple[int, list[str]]]:
    """Yield the number of each line and its cells; text in UTF-8, or in UTF-16 with its mark.

    Raises:
        InputError: it cannot be read.
    """
    reader = csv.reader(read_text(path).splitlines(), delimiter=table.delimiter)
    try:
        for position, row in enumerate(reader):
            if row and not (table.has_names and position == 0):
                yield reader.line_num, row
    except csv.Error as error:
        raise InputError(f"{path}: line {reader.line_num}: malformed CSV ({error}); correct it") from error


def _box_columns(table: Table) -> set[int]:
    return {table.columns[field] for box in _BOXES for field in box if field in table.columns}


def _read_row(row: Sequence[str], table: Table, named: Mapping[str, str], place: str) -> LabeledObject:
    if len(row) < table.num_columns:
        text = f"{place}: {len(row)} columns where {table.num_columns} are due"
        return LabeledObject(None, place=text, lost=Defect.MALFORMED_OBJECT)
    cells = {field: row[index].strip() for field, index in table.columns.items() if index < len(row)}
    edges = _edges(cells)
    if edges is None:
        return LabeledObject(None, place=f"{place}: not numbers", lost=Defect.MALFORMED_OBJECT)
    written = class_name_of(cells.get("class", ONLY_CLASS))
    name = named.get(written or "", written)
    return LabeledObject(name, edges, iscrowd=int(flag(cells.get("crowd"))), place=place)


def _edges(cells: Mapping[str, str]) -> tuple[float, float, float, float] | None:
    box = next(box for box in _BOXES if set(box) <= cells.keys())
    if box == ("bbox",):
        written = read_box(cells["bbox"])
        return None if written is None else (written[0], written[1], written[0] + written[2], written[1] + written[3])
    values = [number(cells[field]) for field in box]
    if any(value is None for value in values):
        return None
    a, b, c, d = (value for value in values if value is not None)
    if box[0] == "x1":
        return a, b, c, d
    return (a, b, a + c, b + d) if box[0] == "x" else (a - c / 2, b - d / 2, a + c / 2, b + d / 2)


def _size(row: Sequence[str], table: Table) -> tuple[int, int]:
    width, height = (whole_number(_cell(row, table, field)) or 0 for field in ("width", "height"))
    return width, height


def _objects(image: LabeledImage) -> Sequence[LabeledObject]:
    return image.labels.objects if isinstance(image.labels, Labels) else ()
