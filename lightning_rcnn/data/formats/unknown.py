"""Name the file that seems to hold the annotations where no format is recognized, and the way out for it."""

import csv
import json
import posixpath
import re
from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence
from contextlib import suppress
from itertools import islice
from typing import Any

from PIL import Image

from lightning_rcnn.data.formats.coco.other_formats import recognize_content
from lightning_rcnn.data.formats.coco.scalars import number
from lightning_rcnn.data.formats.json_lines import SUFFIXES, first_dictionary
from lightning_rcnn.data.formats.layout import Layout
from lightning_rcnn.data.formats.yolo_config import is_class_list
from lightning_rcnn.data.formats.yolo_oriented import is_dota_line
from lightning_rcnn.data.text_encoding import decode_text

_MAX_PARSED = 1 << 26
"""Bytes of the largest JSON file that is parsed again for its name."""
_FILES_TO_TRY = 20
_PYTHON = "yield the samples from Python with `pack_samples`"
_OTHERS = {
    ".arrow": "an Arrow table",
    ".mat": "a MATLAB file",
    ".npz": "a file of numpy's arrays",
    ".mdb": "an LMDB data base",
    ".xlsx": "an Excel table, which CSV would do for",
    ".geojson": "GeoJSON, whose coordinates are no pixels",
    ".pkl": "a Python pickle",
    ".h5": "an HDF5 file",
    ".hdf5": "an HDF5 file",
}
_RECORDS = re.compile(r"\.(tf)?records?(-\d+-of-\d+)?$", re.IGNORECASE)
_ROOT = re.compile(r"<([A-Za-z][\w:.-]*)[\s>]")
_PROMPT_AND_ANSWER = {"prefix", "suffix"}
"""Keys of a line for PaliGemma and Florence-2."""
_NUMBER = re.compile(r"(?<![\w.])-?\d+(\.\d*)?(?![\w.])")
_ONE_CHANNEL = ("1", "L", "P", "I", "I;16")
"""Pillow's modes of masks."""
_REMARKS = re.compile(r"(^|/)(readme|license|notes)[^/]*$", re.IGNORECASE)


def describe_unknown(layout: Layout) -> str:
    """Return "FILE is ...; what to do" for the file that most likely has the annotations; "" if none looks like it."""
    return (
        _json(layout)
        or _table(layout)
        or _text(layout)
        or _masks_of_classes(layout)
        or _json_lines(layout)
        or _xml(layout)
        or _other(layout)
        or _unknown_json(layout)
    )


def _json(layout: Layout) -> str:
    for file, content in _parsed(layout):
        if (other := recognize_content(content)) is not None:
            return f"{file} is of {other.name}; {other.way_out}"
    return ""


def _unknown_json(layout: Layout) -> str:
    for file, content in _parsed(layout):
        if isinstance(content, dict) and content:
            keys = ", ".join(list(content)[:8]) + (", ..." if len(content) > 8 else "")
            return f"{file} is JSON with the keys {keys}; export it as COCO JSON, or {_PYTHON}"
    return ""


def _parsed(layout: Layout) -> Iterator[tuple[str, Any]]:
    """Yield the first JSON files that are not too large, and what is in them."""
    for file in layout.with_suffix(".json")[:_FILES_TO_TRY]:
        path = layout.root / file
        if path.stat().st_size <= _MAX_PARSED:
            with suppress(OSError, ValueError, RecursionError):
                yield file, json.loads(decode_text(path.read_bytes()))


def _table(layout: Layout) -> str:
    for file in layout.with_suffix(".csv", ".tsv")[:_FILES_TO_TRY]:
        first = next(iter(layout.lines(file, 1)), "")
        columns = [name.strip() for name in re.split(r"[,;\t]", first)]
        if (several := _column_of_boxes(layout, file)) is not None:
            return f"{file} has several boxes in a cell of {several}; write a line for each box, or {_PYTHON}"
        if len(columns) >= 2:
            listed = ", ".join(columns[:12]) + (", ..." if len(columns) > 12 else "")
            return (
                f"{file} has the columns {listed}; if a line is a box, name them, for example `lightning-rcnn pack csv "
                f"{layout.path} --columns image=photo,x1=left,y1=top,x2=right,y2=bottom,class=kind`"
            )
    return ""


def _column_of_boxes(layout: Layout, file: str) -> str | None:
    """Return the first column of a table that has the numbers of two boxes or more in a cell; None if there is none."""
    lines = layout.lines(file, _FILES_TO_TRY)
    if not lines:
        return None
    names, *rows = csv.reader(lines, delimiter=max(",;\t", key=lines[0].count))
    cells = ((name, cell) for row in rows for name, cell in zip(names, row, strict=False))
    return next((name for name, cell in cells if _num_boxes(cell) >= 2), None)


def _num_boxes(cell: str) -> int:
    """Return the number of groups of four numbers, as in "[[1, 2, 3, 4], [5, 6, 7, 8]]" or "1 2 3 4;5 6 7 8"."""
    return sum(len(_NUMBER.findall(group)) == 4 for group in re.split(r"[;{}\[\]]", cell))


def _text(layout: Layout) -> str:
    texts = [each for each in layout.with_suffix(".txt") if not is_class_list(each) and not _REMARKS.search(each)]
    names = {posixpath.basename(image) for image in layout.images}
    stems = names | {posixpath.splitext(name)[0] for name in names}
    for file in texts[: 5 * _FILES_TO_TRY]:
        lines = layout.lines(file, 3)
        if names and posixpath.splitext(posixpath.basename(file))[0] not in stems and not _name_images(lines, stems):
            continue  # a table of classes or cameras
        if any(map(is_dota_line, lines)):
            return f"{file} has oriented boxes, as of DOTA; detectors here have upright boxes, so {_PYTHON}"
        line = next((each for each in lines if _num_numbers(each) >= 4), "")
        if line:
            shown = line if len(line) <= 60 else f"{line[:60]}..."
            return (
                f"{file} has lines such as {shown!r}; if a line is an object, say what is in it, for example "
                f"`lightning-rcnn pack lines {layout.path} --template 'class x1 y1 x2 y2'`"
            )
    return ""


def _name_images(lines: Sequence[str], stems: Collection[str]) -> bool:
    words = (word for line in lines for word in re.split(r"[,;\s]+", line))
    return any(posixpath.basename(word.replace("\\", "/")) in stems for word in words)


def _masks_of_classes(layout: Layout) -> str:
    """Name the first image of one channel that is called like an image in another folder, as of ADE20K's challenge."""
    by_stem: defaultdict[str, list[str]] = defaultdict(list)
    for image in layout.images:
        by_stem[posixpath.splitext(posixpath.basename(image))[0]].append(image)
    pairs = (file for files in by_stem.values() if len(files) > 1 for file in files if file.lower().endswith(".png"))
    for file in islice(pairs, _FILES_TO_TRY):
        with suppress(OSError, ValueError), Image.open(layout.root / file) as opened:
            if opened.mode in _ONE_CHANNEL:
                return (
                    f"{file} seems to be a mask of classes, as for semantic segmentation, which does not tell objects "
                    f"apart; export instances, or {_PYTHON}"
                )
    return ""


def _json_lines(layout: Layout) -> str:
    for file in layout.with_suffix(*SUFFIXES)[:_FILES_TO_TRY]:
        content = first_dictionary(layout, file)
        if content is not None and content.keys() >= _PROMPT_AND_ANSWER:
            return f"{file} has prompts and answers, as PaliGemma; export it as COCO, or {_PYTHON}"
        if content is not None:
            return (
                f"{file} has lines with the keys {', '.join(list(content)[:12])}; if a line is an image, name them, "
                f"for example `lightning-rcnn pack jsonl {layout.path} --map file_name=image,boxes=objects.bbox,"
                "labels=objects.category`"
            )
    return ""


def _num_numbers(line: str) -> int:
    return sum(number(cell) is not None for cell in re.split(r"[,;\s]+", line))


def _xml(layout: Layout) -> str:
    for file in layout.with_suffix(".xml")[:_FILES_TO_TRY]:
        if match := _ROOT.search(layout.head(file)):
            return f"{file} is XML with the root <{match[1]}>; export it as COCO JSON, or {_PYTHON}"
    return ""


def _other(layout: Layout) -> str:
    for file in layout.files:
        if _RECORDS.search(file):
            return f"{file} is TensorFlow's records; {_PYTHON}"
    for suffix, name in _OTHERS.items():
        for file in layout.with_suffix(suffix):
            return f"{file} is {name}; {_PYTHON}"
    return ""
