"""The columns of a Parquet file: which are the images, their boxes and their classes.

Keys differ from set to set (see `json_fields.py`). Names of classes are in the schema of the file, or in README.md.
"""

import posixpath
from collections.abc import Iterator, Mapping
from typing import Any, Literal, NamedTuple

from lightning_rcnn.data.formats.annotation_files import ImageNames
from lightning_rcnn.data.formats.coco.scalars import numbers
from lightning_rcnn.data.formats.hugging_face import names_in_features, names_in_readme
from lightning_rcnn.data.formats.json_fields import AmbiguousFieldsError, boxes_of, column, find_fields
from lightning_rcnn.data.formats.json_lines import IMAGE_KEYS
from lightning_rcnn.data.formats.labeled import LabelsError
from lightning_rcnn.data.formats.layout import Layout
from lightning_rcnn.data.formats.parquet_rows import ParquetTable, Row, RowsError, open_table, read_first_rows, read_row
from lightning_rcnn.errors import InputError

IMAGE = "image"
FIELDS = (IMAGE, "boxes", "labels", "masks", "crowd", "difficult", "width", "height")
"""Fields of `--map`: the column of the images, and paths in a row."""
_IMAGE_NAMES = (IMAGE, "img", "images", "picture", "photo")


class ImageTable(NamedTuple):
    """A file with its images and objects.

    Attributes:
        file: path relative to the data set.
        table: what the file says of its rows.
        image: column of the images.
        fields: field -> path in a row.
        names: class as written -> name; empty if the file names none.
        holds_images: whether the images are in the file, and not only their names.
    """

    file: str
    table: ParquetTable
    image: str
    fields: dict[str, str]
    names: dict[str, str]
    holds_images: bool

    @property
    def labels(self) -> tuple[str, ...]:
        """Columns to read for what is said of the images."""
        return tuple(leaf.path for leaf in self.table.leaves if leaf.column != self.image and leaf.kind != "bytes")

    @property
    def bytes_leaf(self) -> str:
        """Column with the bytes of the images; "" if there is none."""
        return _leaf_of(self.table, self.image, "bytes")

    @property
    def name_leaf(self) -> str:
        """Column with the names of the images; "" if there is none."""
        return _leaf_of(self.table, self.image, "text")


def is_parquet(layout: Layout, file: str) -> bool:
    """Return whether a file is a table of images and their boxes or masks; false for damaged ones."""
    try:
        return is_image_table(open_table(layout.root / file))
    except InputError:  # reported when nothing else is recognized
        return False


def is_image_table(table: ParquetTable) -> bool:
    """Return whether a table has images and their boxes or masks, as its schema says."""
    try:
        return bool(image_columns(table) and find_fields([table.template], {}, table.path.name))
    except AmbiguousFieldsError:  # it has, and the user has to explain them
        return True
    except InputError:
        return False


def image_columns(table: ParquetTable) -> list[str]:
    """Return the columns of bytes, or of structs with bytes; without one, that of names of image files."""
    columns = [leaf.column for leaf in table.leaves if leaf.path == _leaf_of(table, leaf.column, "bytes")]
    texts = [leaf.path for leaf in table.leaves if leaf.kind == "text"]
    return columns or [key for key in IMAGE_KEYS if key in texts][:1]


def describe_table(layout: Layout, file: str, table: ParquetTable, given: Mapping[str, str]) -> ImageTable:
    """Find the columns of a file.

    Raises:
        InputError: they are not recognized.
    """
    where = str(layout.root / file)
    columns = image_columns(table)
    named = [each for each in columns if each in _IMAGE_NAMES]
    image = given.get(IMAGE) or (named if len(named) == 1 else columns)[0]
    if IMAGE not in given and len(columns) > 1 and len(named) != 1:
        raise InputError(f"{where}: {' and '.join(columns)} may be the images; choose with --map image={columns[0]}")
    if image not in columns:
        raise InputError(f"{where}: --map image={image}: no column of images; they are {', '.join(columns)}")
    template = {key: value for key, value in table.template.items() if key != image}
    fields = find_fields([template], {key: path for key, path in given.items() if key != IMAGE}, where)
    if table.description:
        names = names_in_features(table.description, fields["labels"])
    else:
        names = names_in_readme(layout, file)
    return ImageTable(file, table, image, fields, names, _holds_images(table, image))


def _holds_images(table: ParquetTable, image: str) -> bool:
    """Return whether one of the first rows has the bytes of its image.

    The statistics in a file would say it, but pyarrow ends the program on damaged ones.
    """
    leaf = _leaf_of(table, image, "bytes")
    try:
        first = read_first_rows(table, leaf) if leaf else []
    except RowsError:  # such rows are reported when they are packed
        return True
    return any(_image_bytes(content) is not None for content in first)


def _leaf_of(table: ParquetTable, image: str, kind: Literal["bytes", "text"]) -> str:
    """Return the path of the bytes, or the names, of the images in a column; "" if there are none."""
    inside = f"{image}.{'bytes' if kind == 'bytes' else 'path'}"
    return next((leaf.path for leaf in table.leaves if leaf.path in (image, inside) and leaf.kind == kind), "")


def _image_bytes(content: dict[str, Any]) -> bytes | None:
    """Return the bytes in the column of a row that was read alone; None if it has none."""
    (value,) = content.values()
    data = value.get("bytes") if isinstance(value, dict) else value
    return data if isinstance(data, bytes) else None


def contents_of(table: ImageTable) -> Iterator[tuple[Row, dict[str, Any]]]:
    """Yield each row and what it says.

    Raises:
        InputError: one cannot be read.
    """
    for row in table.table.rows():
        try:
            yield row, read_row(row, table.labels)
        except RowsError as error:
            raise InputError(f"{error}; copy the file again") from error


def boxes_in(table: ImageTable, content: dict[str, Any]) -> list[list[float]]:
    """Return the boxes of a row that are four numbers; none if they cannot be read."""
    try:
        listed = boxes_of(content, table.fields["boxes"]) if "boxes" in table.fields else []
    except LabelsError:  # reported when the labels are read
        return []
    return [box for each in listed if (box := numbers(each)) is not None and len(box) == 4]


def column_in(content: dict[str, Any], path: str) -> list[Any]:
    """Return the values of a field of a row; none if it lacks them."""
    try:
        return column(content, path)
    except LabelsError:
        return []


def name_of_image(table: ImageTable, row: Row) -> str:
    """Return the name of the image of a row; "" if it has none.

    Raises:
        RowsError: it cannot be read.
    """
    leaf = table.name_leaf
    value = read_row(row, (leaf,))[table.image] if leaf else None
    name = str((value.get("path") if isinstance(value, dict) else value) or "").replace("\\", "/")
    return posixpath.basename(name) if name.startswith("/") else name


def read_image(row: Row, leaf: str) -> bytes:
    """Return the bytes of the image of a row.

    Raises:
        OSError: there are none, or they cannot be read.
    """
    data = _image_bytes(read_row(row, (leaf,)))
    if data is None:
        raise RowsError(f"row {row.number + 1} of row group {row.group + 1} of {row.path} has no image")
    return data


def find_image(layout: Layout, table: ImageTable, row: Row) -> bytes:
    """Return the bytes of the image of a row, in the table or in a file.

    Raises:
        OSError: there are none.
    """
    if table.holds_images:
        return read_image(row, table.bytes_leaf)
    return (layout.root / ImageNames(layout, table.file).find(name_of_image(table, row))).read_bytes()
