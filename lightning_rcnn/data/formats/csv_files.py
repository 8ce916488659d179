"""Read CSV files with a box a line, by the names of their columns or by known orders of columns without names.

| kind | columns |
|---|---|
| TensorFlow's object detection API, Roboflow | `filename, width, height, class, xmin, ymin, xmax, ymax` |
| RetinaNet | `path, x1, y1, x2, y2, class`, without names; an image without objects has its path only |
| SKU-110K | `image, x1, y1, x2, y2, class, width, height`, without names |
| makesense.ai | `class, x, y, w, h, image, width, height`, without names |
| Google's AutoML Vision | `set, image, class, x1, y1, , , x2, y2, , `, without names, shares |
| Open Images, also FiftyOne's | `ImageID, ..., LabelName, ..., XMin, XMax, YMin, YMax, ..., IsGroupOf, ...`, shares |
| LISA's traffic signs | `Filename;Annotation tag;Upper left corner X;...;Lower right corner Y;...` |
| GTSRB, GTSDB | `Filename;Width;Height;Roi.X1;...;ClassId`; `image;x1;y1;x2;y2;class` in a text file |
| Global Wheat and others | `image_id, width, height, bbox`, where bbox is [x, y, width, height] |

Columns of other names are given as `--columns image=photo,x1=left,...`.
"""

import csv
import posixpath
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence

from lightning_rcnn.data.defects import Defect
from lightning_rcnn.data.formats.annotation_files import ImageNames, splits_of_files
from lightning_rcnn.data.formats.coco.boxes import read_box
from lightning_rcnn.data.formats.coco.relative import are_relative
from lightning_rcnn.data.formats.coco.scalars import flag, number, whole_number
from lightning_rcnn.data.formats.coco.sizes import stated_size
from lightning_rcnn.data.formats.csv_box_sizes import require_box_size
from lightning_rcnn.data.formats.csv_columns import BOXES, Table, cell_of, recognize_table, rows_of
from lightning_rcnn.data.formats.labeled import LabeledData, LabeledImage, LabeledObject, Labels
from lightning_rcnn.data.formats.layout import Layout, read_text
from lightning_rcnn.data.formats.shapes import class_name_of
from lightning_rcnn.data.formats.splits import split_of
from lightning_rcnn.errors import InputError
from lightning_rcnn.plural import plural

ONLY_CLASS = "object"


def read_csv(layout: Layout, columns: Mapping[str, str] | None = None) -> LabeledData:
    """List a data set of CSV files.

    Args:
        layout: folder of the data set, or one CSV file with its images beside it.
        columns: meaning (see `FIELDS`) -> name of the column, or its number from 1; the others are recognized.

    Raises:
        InputError: there is no CSV file with an image and a box a line, or the size of the box may be the image's.
    """
    tables = {}
    for file in _csv_files(layout):
        # Columns that are given are those of a table of boxes, not of a list of classes beside it.
        table = None if columns and _class_list(layout, file) else recognize_table(layout, file, columns or {})
        if table is not None:
            if table.assumes_size:
                require_box_size(layout, file, table)
            tables[file] = table
    if not tables:
        raise InputError(
            f"{layout.path}: no CSV file with columns for an image and a box; name them, for example with "
            "`--columns image=photo,x1=left,y1=top,x2=right,y2=bottom,class=kind`"
        )
    named = _names_of_classes(layout)
    images: defaultdict[str, list[LabeledImage]] = defaultdict(list)
    notes = []
    for file, table in tables.items():
        of_file, note = _read_table(layout, file, table, named)
        for key, listed in of_file.items():
            images[key] += listed
        if note:
            notes.append(f"{file}: {note}")
    if any("class" not in table.columns for table in tables.values()):
        notes.append(f"no column for the class, so all objects are {ONLY_CLASS}")
    used = {each.class_name for listed in images.values() for image in listed for each in _objects(image)}
    order = [name for name in named.values() if name in used]
    class_names = list(dict.fromkeys(order)) if named and used <= {*order, None} else None
    return LabeledData(", ".join(tables), splits_of_files(layout, images), class_names, tuple(notes))


def _csv_files(layout: Layout) -> list[str]:
    files = layout.with_suffix(".csv", ".tsv") or text_tables(layout)
    return files or ([layout.path.name] if layout.path.is_file() else [])


def text_tables(layout: Layout) -> list[str]:
    """Return the text files with columns of a box and of images that are here, as GTSDB's gt.txt; of the first 100."""
    texts = layout.with_suffix(".txt")[:100]
    names = [posixpath.basename(image) for image in layout.images] if texts else []
    here = {*names, *(posixpath.splitext(name)[0] for name in names)}
    return [file for file in texts if _names_one_of(layout, file, here)]


def _names_one_of(layout: Layout, file: str, names: Collection[str]) -> bool:
    """Return whether a file is a table with an image of these names in its first lines."""
    table = recognize_table(layout, file)
    if table is None:
        return False
    rows = csv.reader(layout.lines(file, 5), delimiter=table.delimiter)
    column = table.columns["image"]
    return any(len(row) > column and posixpath.basename(row[column].strip()) in names for row in rows)


def _names_of_classes(layout: Layout) -> dict[str, str]:
    """Return written class -> name, from the lists of Open Images (id, name) and RetinaNet (name, number)."""
    named: dict[str, str] = {}
    for file in layout.with_suffix(".csv", among=layout.all_files):
        rows = _class_list(layout, file)
        if None in (numbers := [whole_number(number) for _, number in rows]):
            named |= {written: name.strip() for written, name in rows}
        else:
            named |= {name: name for _, (name, _) in sorted(zip(numbers, rows, strict=True))}
    return named


def _class_list(layout: Layout, file: str) -> list[tuple[str, str]]:
    """Return the rows of a list of classes; none of another file."""
    if "class-descriptions" in file:  # Open Images'
        return [(row[0], row[1]) for row in csv.reader(read_text(layout.root / file).splitlines()) if len(row) == 2]
    if "class" not in file.rpartition("/")[2].lower():
        return []
    if any(len(row) != 2 for row in csv.reader(layout.lines(file))):
        return []
    rows = [row for row in csv.reader(read_text(layout.root / file).splitlines()) if row]
    if any(len(row) != 2 for row in rows):
        return []
    is_fiftyones = all(row[0].startswith("/m/") for row in rows)  # copy of Open Images
    is_retinanets = all(whole_number(row[1]) is not None for row in rows)
    return [(row[0], row[1]) for row in rows] if is_fiftyones or is_retinanets else []


def _read_table(
    layout: Layout, file: str, table: Table, named: Mapping[str, str]
) -> tuple[dict[str, list[LabeledImage]], str]:
    """Return the images of a file with their objects, in the order of their first lines, and a note on its splits.

    They are by a path that tells their split: the file's, or one of the split that a column names for every image.
    """
    names = ImageNames(layout, file)
    objects: dict[str, list[LabeledObject]] = {}
    sizes: dict[str, tuple[int, int]] = {}
    stated: dict[str, dict[str, str]] = {"group": {}, "split": {}}
    for line, row in rows_of(layout.root / file, table):
        place = f"{file}, line {line}"
        image = cell_of(row, table, "image") or f"{place} (its image)"
        listed = objects.setdefault(image, [])
        for field in stated.keys() & table.columns.keys():
            _add(stated[field], image, cell_of(row, table, field), field, place)
        if {"width", "height"} <= table.columns.keys():
            sizes.setdefault(image, _size(row, table))
        if any(cell.strip() for index, cell in enumerate(row) if index in _box_columns(table)):
            listed.append(_read_row(row, table, named, place))
    edges = [each.edges for listed in objects.values() for each in listed if each.edges is not None]
    is_open_images = "crowd" in table.columns and all(min(edge) >= 0 and max(edge) <= 1 for edge in edges)
    is_relative = is_open_images or are_relative(edges)
    splits = {image: split_of(f"{split}/-") for image, split in stated["split"].items()}
    without_split = next((image for image in objects if not splits.get(image)), None)
    images: defaultdict[str, list[LabeledImage]] = defaultdict(list)
    for image, listed in objects.items():
        if is_relative:
            listed = [each._replace(is_relative=True) for each in listed]
        size = None if is_relative or not sizes else sizes.get(image, (0, 0))
        key = f"{splits[image]}/-" if without_split is None else file
        group = stated["group"].get(image, "")
        images[key].append(LabeledImage(names.find(image), Labels(listed, size), file, group=group))
    if not splits or without_split is None:
        return images, ""
    value = stated["split"].get(without_split, "")
    return images, f"its column of splits is not used, since {without_split} has {value!r} there, which is none"


def _add(stated: dict[str, str], image: str, value: str, field: str, place: str) -> None:
    if not value or (before := stated.setdefault(image, value)) == value:
        return
    if field != "split" or _split_in(before) != _split_in(value):
        raise InputError(
            f"{place}: {image} is in the {field}s {before!r} and {value!r}; give it one {field}, or name "
            f"another column with --columns {field}=NAME"
        )


def _split_in(cell: str) -> str:
    """Return the split that a cell names, as `train` of TRAIN; else its text without case."""
    return split_of(f"{cell}/-") or cell.casefold()


def _box_columns(table: Table) -> set[int]:
    return {table.columns[field] for box in BOXES for field in box if field in table.columns}


def _read_row(row: Sequence[str], table: Table, named: Mapping[str, str], place: str) -> LabeledObject:
    if len(row) < table.num_columns:
        text = f"{place}: {plural(len(row), 'column')} where {table.num_columns} are due"
        return LabeledObject(None, place=text, lost=Defect.MALFORMED_OBJECT)
    cells = {field: row[index].strip() for field, index in table.columns.items() if index < len(row)}
    edges = _edges(cells)
    if edges is None:
        return LabeledObject(None, place=f"{place}: {_not_a_box(cells)}", lost=Defect.MALFORMED_OBJECT)
    written = class_name_of(cells.get("class", ONLY_CLASS))
    name = named.get(written or "", written)
    return LabeledObject(name, edges, iscrowd=int(flag(cells.get("crowd"))), place=place)


def _box_fields(cells: Mapping[str, str]) -> tuple[str, ...]:
    return next(box for box in BOXES if set(box) <= cells.keys())


def _not_a_box(cells: Mapping[str, str]) -> str:
    fields = _box_fields(cells)
    cell = next(cells[field] for field in fields if fields == ("bbox",) or number(cells[field]) is None)
    expected = "x, y, width, height of one box" if fields == ("bbox",) else "a number"
    return f"{cell if len(cell) <= 40 else f'{cell[:40]}...'!r} is not {expected}"


def _edges(cells: Mapping[str, str]) -> tuple[float, float, float, float] | None:
    box = _box_fields(cells)
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
    return stated_size(cell_of(row, table, "width"), cell_of(row, table, "height"))


def _objects(image: LabeledImage) -> Sequence[LabeledObject]:
    return image.labels.objects if isinstance(image.labels, Labels) else ()
