"""Read Parquet files with an image and its objects a row, as `push_to_hub` of Hugging Face's `datasets` writes them.

    data/train-00000-of-00002.parquet   data/train-00001-of-00002.parquet   data/test-00000-of-00001.parquet

    image: {bytes, path}   objects: {bbox: [[302, 109, 73, 52]], category: [0]}, or a list with a dictionary an object

Source: https://huggingface.co/docs/datasets/object_detection and https://huggingface.co/docs/hub/datasets-image
"""

import posixpath
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from lightning_rcnn.data.formats.annotation_files import ImageNames
from lightning_rcnn.data.formats.json_fields import BoxForm, read_objects
from lightning_rcnn.data.formats.labeled import LabeledData, LabeledImage, LabeledSplit, Labels, LabelsError
from lightning_rcnn.data.formats.layout import Layout
from lightning_rcnn.data.formats.parquet_boxes import are_shares, recognize_form
from lightning_rcnn.data.formats.parquet_columns import (
    ImageTable,
    column_in,
    contents_of,
    describe_table,
    image_columns,
    is_image_table,
    name_of_image,
    read_image,
)
from lightning_rcnn.data.formats.parquet_rows import Row, RowsError, open_table, read_row
from lightning_rcnn.data.formats.splits import in_order, split_of
from lightning_rcnn.errors import InputError
from lightning_rcnn.plural import plural

SUFFIX = ".parquet"


def read_parquet(
    layout: Layout,
    given: Mapping[str, str] | None = None,
    form: BoxForm | None = None,
    class_names: Mapping[str, str] | None = None,
) -> LabeledData:
    """List a data set of tables in Parquet.

    Args:
        layout: folder of the data set, or one file.
        given: field -> path that the user named; see `json_fields.find_fields`, and `image`.
        form: form of the boxes; None to recognize it.
        class_names: class as written -> its name; by default those of the schema or README.md, or as they are written.

    Raises:
        InputError: there is no such file, one is damaged, or fields or the form of boxes are not recognized.
    """
    given = given or {}
    tables = {file: open_table(layout.root / file) for file in layout.with_suffix(SUFFIX)}
    known = [] if given else [file for file, table in tables.items() if is_image_table(table)]
    wanted = known or [file for file, table in tables.items() if image_columns(table)]
    if not wanted:
        raise InputError(
            f"{layout.path}: no Parquet file with a column of images, which are bytes, or a struct of bytes and path, "
            "or with their names in a column file_name"
        )
    read = [describe_table(layout, file, tables[file], given) for file in wanted]
    _require_one_set(layout, read, is_named=bool(class_names))
    first = read[0]
    where = f"{layout.root / first.file} (`lightning-rcnn pack parquet`)"
    names = class_names or first.names
    is_relative = are_shares(read)
    notes = []
    if "boxes" in first.fields:
        form = form or recognize_form(layout, read, is_relative, where)
        notes.append(f"boxes in {first.fields['boxes']} as {form}{', shares of the size' if is_relative else ''}")
    numbered = [] if names else _numbers(read)
    if numbered:
        notes.append("its classes are numbers: --class_names 0=cat,1=dog of `pack parquet` names them")
    if repeated := _num_repeated(read):
        notes.append(f"{plural(repeated, 'row')} with the image_id of another one, each an image of its own")
    if others := [file for file in tables if file not in wanted]:
        notes.append(f"no tables of images and boxes, left out: {', '.join(others)}")
    if left := [leaf.path for leaf in first.table.leaves if leaf.kind == "bytes" and leaf.column != first.image]:
        notes.append(f"columns of bytes, left out: {', '.join(left)}")
    labels = partial(read_objects, fields=first.fields, form=form or "xywh", class_names=names, is_relative=is_relative)
    return LabeledData(
        ", ".join(wanted),
        _splits(layout, read, labels),
        list(dict.fromkeys(names.values())) or numbered or None,
        tuple(notes),
    )


def _require_one_set(layout: Layout, tables: Sequence[ImageTable], *, is_named: bool) -> None:
    """Check that files are splits and parts of one set.

    Args:
        layout: folder of the data set.
        tables: its files.
        is_named: whether the user named the classes.

    Raises:
        InputError: they are of several, or differ.
    """
    folders = list(dict.fromkeys(_configuration(table.file) for table in tables))
    if len(folders) > 1:
        raise InputError(
            f"{layout.path}: Parquet files in {' and '.join(folder or '.' for folder in folders)} may be several "
            "versions of one set; give the folder of one, or all of them to unite them"
        )
    first = tables[0]
    for table in tables[1:]:
        if (table.image, table.fields) != (first.image, first.fields):
            raise InputError(f"{layout.root / table.file}: has other columns than {first.file}; give one of them")
        if table.names != first.names and not is_named:
            raise InputError(
                f"{layout.root / table.file}: has other classes than {first.file}; name them with --class_names "
                "0=cat,1=dog, or give one of them"
            )


def _configuration(file: str) -> str:
    """Return the folders of a file, without those that are called like splits."""
    return "/".join(part for part in posixpath.dirname(file).split("/") if not split_of(f"{part}/-"))


def _numbers(tables: Iterable[ImageTable]) -> list[str]:
    """Return the classes in the order of their numbers if all are numbers; else none."""
    written: set[Any] = set()
    for table in tables:
        for _, content in contents_of(table):
            listed = column_in(content, table.fields["labels"])
            written.update(each for each in listed if isinstance(each, str | int | float))
    return [str(each) for each in sorted(written)] if written and all(type(each) is int for each in written) else []


def _num_repeated(tables: Iterable[ImageTable]) -> int:
    """Return the number of rows that state the id of an image that another row of their split states, too."""
    ids = Counter(
        (split_of(table.file), str(content.get(table.fields["image_id"])))
        for table in tables
        if "image_id" in table.fields
        for _, content in contents_of(table)
    )
    return sum(count for count in ids.values() if count > 1)


def _splits(layout: Layout, tables: Sequence[ImageTable], labels: Callable[..., Labels]) -> list[LabeledSplit]:
    by_split: defaultdict[str, list[ImageTable]] = defaultdict(list)
    for table in tables:
        by_split[split_of(table.file)].append(table)
    if len(by_split) > 1 and "" in by_split:
        by_split["other"] = by_split.pop("")
    return [
        LabeledSplit(
            split,
            layout.root,
            list(_images(layout, by_split[split], labels)),
            lists_all=not any(table.holds_images for table in tables),
        )
        for split in in_order(by_split)
    ]


def _images(layout: Layout, tables: Sequence[ImageTable], labels: Callable[..., Labels]) -> Iterator[LabeledImage]:
    """Yield the images of a split, called as in their rows, or by their numbers where two have one name."""
    try:
        written = [(table, row, name_of_image(table, row)) for table in tables for row in table.table.rows()]
    except RowsError as error:
        raise InputError(f"{error}; copy the file again") from error
    counts = Counter(name for _, _, name in written)
    are_unique = "" not in counts and max(counts.values(), default=1) == 1
    beside = {table.file: ImageNames(layout, table.file) for table in tables}
    read = {table.file: partial(_read_labels, leaves=table.labels, read=labels) for table in tables}
    for place, (table, row, name) in enumerate(written):
        stated = partial(read[table.file], row)
        if not table.holds_images:
            yield LabeledImage(beside[table.file].find(name), stated, table.file)
            continue
        called = name if are_unique else f"{place:06d}{posixpath.splitext(name)[1]}"
        yield LabeledImage(called, stated, table.file, content=partial(read_image, row, table.bytes_leaf))


def _read_labels(row: Row, leaves: tuple[str, ...], read: Callable[[dict[str, Any]], Labels]) -> Labels:
    """Return what a row says of its image.

    Raises:
        LabelsError: it cannot be read.
    """
    try:
        content = read_row(row, leaves)
    except RowsError as error:
        raise LabelsError(str(error)) from error
    return read(content)
