"""Rows of Parquet files, read a row group at a time, for which the package pyarrow is needed.

A file is as large as its images. Its row groups, of a hundred to a thousand images as Hugging Face writes them, are
read whole, and the last few are kept, since rows are mostly asked for in their order.

Source: https://parquet.apache.org/docs/file-format and https://arrow.apache.org/docs/python/parquet.html
"""

from bisect import bisect_right
from collections.abc import Iterator
from functools import lru_cache
from itertools import accumulate
from pathlib import Path
from threading import Lock
from typing import Any, Literal, NamedTuple

from lightning_rcnn.errors import InputError, require_extra

_LFS = b"version https://git-lfs"
_KEPT_GROUPS = 4
"""Row groups in memory in a process: two of images, and the labels of two."""
_ROWS_TO_CONVERT = 32
_METADATA = b"huggingface"
_LOCK = Lock()


class RowsError(OSError):
    """Raised when a row of a Parquet file cannot be read."""


class Leaf(NamedTuple):
    """A column of a file that holds values, such as `objects.list.element.bbox.list.element`.

    Attributes:
        path: path in the file.
        kind: whether its values are bytes, text, or anything else.
    """

    path: str
    kind: Literal["bytes", "text", "other"]

    @property
    def column(self) -> str:
        """The column of the table to which it belongs."""
        return self.path.partition(".")[0]


class Row(NamedTuple):
    """Place of a row in a file.

    Attributes:
        path: path of the file.
        written: when the file was written, nanoseconds: another file under its name is not this one.
        group: row group.
        number: number of the row in that.
    """

    path: Path
    written: int
    group: int
    number: int


class ParquetTable(NamedTuple):
    """What a file says of its rows.

    Attributes:
        path: path of the file.
        written: see `Row`.
        leaves: columns that hold values.
        template: a row in the form in which rows are read, without values.
        description: description by Hugging Face's `datasets`, JSON; empty if there is none.
        group_sizes: number of rows of each row group.
    """

    path: Path
    written: int
    leaves: tuple[Leaf, ...]
    template: dict[str, Any]
    description: bytes
    group_sizes: tuple[int, ...]

    def rows(self) -> Iterator[Row]:
        """Yield the place of each row."""
        for group, size in enumerate(self.group_sizes):
            yield from (Row(self.path, self.written, group, number) for number in range(size))


def open_table(path: Path) -> ParquetTable:
    """Read what a file says of its rows.

    Raises:
        InputError: pyarrow is missing, or the file is damaged or only stands for one in Git LFS.
    """
    require_extra("pyarrow", "parquet", str(path))
    import pyarrow
    from pyarrow import parquet

    try:
        written = path.stat().st_mtime_ns
        with path.open("rb") as file:
            if file.read(len(_LFS)) == _LFS:
                raise InputError(f"{path}: only stands for a file in Git LFS; fetch it with `git lfs pull`")
        with parquet.ParquetFile(path) as opened:
            schema, metadata = opened.schema_arrow, opened.metadata
            leaves = tuple(_leaf(opened.schema.column(number)) for number in range(len(opened.schema)))
            sizes = tuple(metadata.row_group(group).num_rows for group in range(metadata.num_row_groups))
    except (pyarrow.ArrowException, OSError, ValueError) as error:
        raise InputError(f"{path}: cannot be read as Parquet ({_one_line(error)}); copy it again") from error
    template = {field.name: _template(field.type) for field in schema}
    return ParquetTable(path, written, leaves, template, (schema.metadata or {}).get(_METADATA, b""), sizes)


def read_row(row: Row, leaves: tuple[str, ...]) -> dict[str, Any]:
    """Return the values of a row.

    Args:
        row: place of the row.
        leaves: paths of the columns to read.

    Raises:
        RowsError: it cannot be read.
    """
    with _LOCK:  # threads that come to a row group together read it once
        starts, batches = _row_group(row.path, row.written, row.group, leaves)
    number = bisect_right(starts, row.number) - 1
    try:
        (content,) = batches[number].slice(row.number - starts[number], 1).to_pylist()
    except (IndexError, ValueError) as error:  # fewer rows than stated, or a text that is none
        raise RowsError(
            f"row {row.number + 1} of row group {row.group + 1} of {row.path} cannot be read ({_one_line(error)})"
        ) from error
    return content


def read_first_rows(table: ParquetTable, leaf: str) -> list[dict[str, Any]]:
    """Return the values of a column in the first rows, 32 at most.

    Raises:
        RowsError: they cannot be read.
    """
    import pyarrow
    from pyarrow import parquet

    try:
        with parquet.ParquetFile(table.path) as file:
            first = next(file.iter_batches(_ROWS_TO_CONVERT, columns=[leaf], use_threads=False), None)
            return [] if first is None else first.to_pylist()
    except (pyarrow.ArrowException, OSError, ValueError) as error:
        raise RowsError(f"the first rows of {table.path} cannot be read ({_one_line(error)})") from error


@lru_cache(_KEPT_GROUPS)
def _row_group(path: Path, written: int, group: int, leaves: tuple[str, ...]) -> tuple[list[int], list[Any]]:
    """Return the number of the first row of each of some batches, and the batches."""
    import pyarrow
    from pyarrow import parquet

    try:
        with parquet.ParquetFile(path) as file:  # in batches, since lists of 2 GB of bytes have no form in Arrow
            batches = list(file.iter_batches(_ROWS_TO_CONVERT, [group], list(leaves), use_threads=False))
    except (pyarrow.ArrowException, OSError, ValueError) as error:
        raise RowsError(f"row group {group + 1} of {path} cannot be read ({_one_line(error)})") from error
    return [0, *accumulate(batch.num_rows for batch in batches)][:-1], batches


def _leaf(column: Any) -> Leaf:
    if column.physical_type != "BYTE_ARRAY":
        return Leaf(column.path, "other")
    return Leaf(column.path, "bytes" if str(column.logical_type) == "None" else "text")


def _template(of_type: Any) -> Any:
    """Return the form of the values of a type: dictionaries, lists, and None for others."""
    from pyarrow import types

    if types.is_struct(of_type):
        return {
            of_type.field(number).name: _template(of_type.field(number).type) for number in range(of_type.num_fields)
        }
    if types.is_list(of_type) or types.is_large_list(of_type) or types.is_fixed_size_list(of_type):
        return [_template(of_type.value_type)]
    return None


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
