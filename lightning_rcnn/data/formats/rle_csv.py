"""Read CSV files with the run lengths of a mask a line, as Kaggle's competitions have them.

    ImageId,EncodedPixels        0001.jpg,264661 17 265429 33

Pairs of a position from 1 and a length; pixels are numbered column by column, in Sartorius' cells (`id, annotation,
width, height, cell_type, ...`) row by row. A line is an object, one without runs an image without objects.

Source: https://www.kaggle.com/c/airbus-ship-detection/overview/evaluation and
https://www.kaggle.com/c/sartorius-cell-instance-segmentation/data
"""

import csv
import re
from collections import defaultdict
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from lightning_rcnn.data.decode import UndecodableImage, open_image
from lightning_rcnn.data.file_names import match_names
from lightning_rcnn.data.formats.annotation_files import ImageNames, splits_of_files
from lightning_rcnn.data.formats.labeled import LabeledData, LabeledImage, LabeledObject, Labels, LabelsError
from lightning_rcnn.data.formats.layout import Layout, read_text
from lightning_rcnn.data.formats.shapes import class_name_of, malformed
from lightning_rcnn.errors import InputError
from lightning_rcnn.masks.run_length import MAX_PIXELS, RunLength, encode_crop, encode_runs

ONLY_CLASS = "object"
_IMAGE = ("imageid", "image_id", "id", "image", "img", "filename")
_RUNS = ("encodedpixels", "encoded_pixels", "rle", "annotation")
_CLASS = ("classid", "class_id", "categoryid", "class", "label", "cell_type")
_LINES_TO_TRY = 1000
"""Images without objects may come first."""
_BY_ROWS = "cell_type"
"""Column of the only known set whose pixels are numbered row by row."""
_PAIRS = re.compile(r"\d+ \d+( \d+ \d+)*")


class _Columns(NamedTuple):
    """Indices of the columns, and whether pixels are numbered row by row."""

    image: int
    runs: int
    class_name: int | None
    by_rows: bool


def rle_files(layout: Layout) -> list[str]:
    """Return the CSV files with run lengths of images that are here; a sample of a submission is of others."""
    files = [file for file in layout.with_suffix(".csv") if _has_runs(layout, file)]
    return [file for file in files if "submission" not in file.rpartition("/")[2].lower()]


def read_rle_csv(layout: Layout) -> LabeledData:
    """List a data set of CSV files with run lengths.

    Raises:
        InputError: there is none.
    """
    files = rle_files(layout)
    if not files:
        raise InputError(f"{layout.path}: no CSV file with columns of an image and of run lengths (EncodedPixels)")
    images = {file: _read_file(layout, file) for file in files}
    has_class = any(_columns(layout.lines(file, 1)[0]).class_name is not None for file in files)
    notes = ["a line is an object"] if has_class else [f"no column for the class, so all objects are {ONLY_CLASS}"]
    return LabeledData(", ".join(files), splits_of_files(layout, images), notes=tuple(notes))


def _has_runs(layout: Layout, file: str) -> bool:
    try:
        columns = _columns(next(iter(layout.lines(file, 1)), ""))
    except LabelsError:
        return False
    rows = layout.lines(file, _LINES_TO_TRY)[1:]
    cells = [row[columns.runs].strip() for row in csv.reader(rows) if len(row) > columns.runs]
    return any(map(_PAIRS.fullmatch, cells)) and all(_PAIRS.fullmatch(cell) or not cell for cell in cells)


def _columns(first: str) -> _Columns:
    """Return the columns that the names in a first line mean.

    Raises:
        LabelsError: there are none for the image or the run lengths.
    """
    names = [name.strip().lower() for name in next(csv.reader([first]))]
    image, runs, class_name = (
        next((names.index(name) for name in known if name in names), None) for known in (_IMAGE, _RUNS, _CLASS)
    )
    if image is None or runs is None:
        raise LabelsError("has no columns of an image and of run lengths")
    return _Columns(image, runs, class_name, _BY_ROWS in names)


def _read_file(layout: Layout, file: str) -> list[LabeledImage]:
    lines = read_text(layout.root / file).splitlines()
    columns = _columns(lines[0])
    rows: defaultdict[str, list[tuple[int, str | None, str]]] = defaultdict(list)
    for number, row in enumerate(csv.reader(lines[1:]), start=2):
        if not any(map(str.strip, row)):
            continue
        cells = [*map(str.strip, row), *[""] * len(columns)]
        name = ONLY_CLASS if columns.class_name is None else class_name_of(cells[columns.class_name])
        listed = rows[cells[columns.image] or f"{file}, line {number} (its image)"]
        if cells[columns.runs] or len(row) <= columns.runs:
            listed.append((number, name, cells[columns.runs]))
    names = ImageNames(layout, file)
    found = {written: names.find(written) for written in rows}
    matches = match_names(found.values(), layout.image_set)
    images = []
    for written, listed in rows.items():
        image = matches[found[written]].file or found[written]
        read = partial(_read_labels, layout.root / image, listed, file, columns.by_rows)
        images.append(LabeledImage(image, read, file))
    return images


def _read_labels(image: Path, rows: Sequence[tuple[int, str | None, str]], file: str, by_rows: bool) -> Labels:
    """Read the runs of an image in the frame of its file.

    Raises:
        LabelsError: the header of the file cannot be read.
    """
    try:
        width, height = open_image(image.read_bytes()).size
    except (UndecodableImage, OSError, ValueError) as error:
        raise LabelsError(f"its size is unknown, so its runs have no place ({error})") from error
    objects = [_object(name, runs, width, height, f"{file}, line {line}", by_rows) for line, name, runs in rows]
    return Labels(objects, (width, height))


def _object(name: str | None, runs: str, width: int, height: int, place: str, by_rows: bool) -> LabeledObject:
    if not _PAIRS.fullmatch(runs):
        return malformed(f"{place}: its runs are not pairs of numbers")
    if width * height > MAX_PIXELS:
        return malformed(f"{place}: its image of {width} x {height} has more pixels than a mask can count")
    starts, lengths = np.array(runs.split(), np.float64).reshape(-1, 2).astype(np.int64).T
    ends = starts - 1 + lengths
    if min(starts.min(), lengths.min()) < 1 or ends.max() > width * height or (starts[1:] - 1 < ends[:-1]).any():
        return malformed(f"{place}: its runs overlap, or leave the image of {width} x {height}")
    if by_rows:
        return LabeledObject(name, segmentation=_from_rows(starts - 1, ends, width, height), place=place)
    edges = np.stack([starts - 1, ends], axis=1).ravel()
    counts = np.diff(edges, prepend=0, append=width * height).tolist()
    return LabeledObject(name, segmentation=encode_runs(counts, height, width), place=place)


def _from_rows(starts: np.ndarray, ends: np.ndarray, width: int, height: int) -> RunLength:
    """Return the mask of runs along rows, through the pixels of the rows that they reach."""
    top, bottom = int(starts[0]) // width, (int(ends[-1]) - 1) // width + 1
    edges = np.stack([starts, ends], axis=1).ravel() - top * width
    lengths = np.diff(edges, prepend=0, append=(bottom - top) * width)
    pixels = np.repeat(np.arange(len(lengths)) % 2 == 1, lengths).reshape(bottom - top, width)
    return encode_crop(pixels, top, 0, height, width)
