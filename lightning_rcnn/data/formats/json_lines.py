"""Read JSON Lines with an image a line, as the file metadata.jsonl of a folder of images for Hugging Face's `datasets`.

    {"file_name": "0001.png", "objects": {"bbox": [[302.0, 109.0, 73.0, 52.0]], "categories": [0]}}

Names of images are relative to the file's folder. Keys differ from set to set (see `json_fields.py`). Hugging Face's
boxes are COCO's: x, y, width and height. Classes that are numbers get their names from the `class_label` in the YAML
at the head of README.md, or from the user.

Source: https://huggingface.co/docs/datasets/image_dataset and https://huggingface.co/docs/hub/datasets-cards
"""

import json
import posixpath
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from lightning_rcnn.data.annotation_files import ANNOTATIONS_SUFFIX
from lightning_rcnn.data.decode import UndecodableImage, open_image
from lightning_rcnn.data.defects import DefectLog
from lightning_rcnn.data.formats.annotation_files import ImageNames
from lightning_rcnn.data.formats.box_forms import choose_form
from lightning_rcnn.data.formats.coco.relative import are_relative, polygons_of
from lightning_rcnn.data.formats.coco.scalars import numbers
from lightning_rcnn.data.formats.coco.segmentations import read_segmentation
from lightning_rcnn.data.formats.hugging_face import names_in_readme
from lightning_rcnn.data.formats.json_fields import (
    BoxForm,
    boxes_of,
    column,
    find_fields,
    read_objects,
    size_of,
)
from lightning_rcnn.data.formats.labeled import LabeledData, LabeledImage, LabeledSplit, LabelsError
from lightning_rcnn.data.formats.layout import Layout, read_text, require_memory
from lightning_rcnn.data.formats.splits import in_order, split_of, split_of_folder
from lightning_rcnn.errors import InputError

SUFFIXES = (".jsonl", ".ndjson")
HUGGING_FACE = "metadata.jsonl"
IMAGE_KEYS = ("file_name", "filename", "image_name", "image", "file", "image_path", "img_path", "file_path", "path")
"""Keys of the name of the image, the first of which counts."""
_TO_TRY, _IMAGES_TO_OPEN = 400, 40
"""Lines by which fields and the form of boxes are recognized, and images that are opened for their size."""


class _Line(NamedTuple):
    """One line: the annotation file, the name of its image relative to the data set, and what it says."""

    file: str
    image: str
    content: dict[str, Any]


def is_json_lines(layout: Layout, file: str) -> bool:
    """Return whether a file begins with a line of an image and its boxes or masks; lines with scores are detections."""
    content = None if file.endswith(ANNOTATIONS_SUFFIX) else first_dictionary(layout, file)
    if content is None or _image_key(content) is None:
        return False
    try:
        fields = find_fields([content], {}, file) if not {"prefix", "suffix"} <= content.keys() else {}
    except InputError:  # several keys may be one of the fields: it is such a file, which the user has to explain
        fields = {"boxes": ""}
    return bool(fields) and '"score' not in json.dumps(content)


def first_dictionary(layout: Layout, file: str) -> dict[str, Any] | None:
    """Return the content of the first line of a file; None if it is no dictionary in JSON."""
    return next(first_dictionaries(layout, file, 1), None)


def first_dictionaries(layout: Layout, file: str, limit: int) -> Iterator[dict[str, Any]]:
    """Yield the contents of the first lines of a file that are dictionaries in JSON."""
    for line in layout.lines(file, limit):
        with suppress(ValueError, RecursionError):
            content = json.loads(line)
            if isinstance(content, dict):
                yield content


def read_json_lines(
    layout: Layout,
    given: Mapping[str, str] | None = None,
    form: BoxForm | None = None,
    class_names: Mapping[str, str] | None = None,
) -> LabeledData:
    """List a data set of JSON Lines.

    Args:
        layout: folder of the data set, or one file with its images beside it.
        given: field -> path that the user named; see `json_fields.find_fields`.
        form: form of the boxes; None to recognize it.
        class_names: class as written -> its name; by default those of README.md, or as they are written.

    Raises:
        InputError: there is no such file, a line is malformed, or fields or the form of boxes are not recognized.
    """
    given = given or {}
    files = [file for file in layout.with_suffix(*SUFFIXES) if given or is_json_lines(layout, file)]
    lines = [line for file in files for line in _read_file(layout, file, given.get("file_name"))]
    if not lines:
        raise InputError(
            f"{layout.path}: no file of JSON Lines, such as {HUGGING_FACE}, with an image a line and its boxes; name "
            "their keys with --map file_name=KEY,boxes=KEY,labels=KEY"
        )
    where = f"{layout.root / files[0]} (`lightning-rcnn pack jsonl`)"
    tried = lines[:: max(1, len(lines) // _TO_TRY)]
    fields = find_fields([line.content for line in tried], given, where)
    is_relative = _is_relative(lines, fields)
    if "boxes" in fields and form is None:
        usual: BoxForm | None = "xywh" if posixpath.basename(files[0]) == HUGGING_FACE else None
        form = choose_form(_sizes_and_boxes(layout, tried, fields), f"{where}, {fields['boxes']}", usual)
    form = form or "xywh"
    names = class_names or names_in_readme(layout, files[0])
    read = partial(read_objects, fields=fields, form=form, class_names=names, is_relative=is_relative)
    images = [(line, LabeledImage(line.image, partial(read, line.content), line.file)) for line in lines]
    classes = list(dict.fromkeys(names.values())) or _numbers(lines, fields["labels"])
    notes = [f"boxes in {fields['boxes']} as {form}"] if "boxes" in fields else []
    if classes and not names:
        notes.append("its classes are numbers: --class_names 0=cat,1=dog of `pack jsonl` names them")
    return LabeledData(", ".join(files), _splits(layout, images), classes or None, tuple(notes))


def numbered_dictionaries(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield the number, from 1, and the content of each line of a file that is not empty.

    Raises:
        InputError: it cannot be read, or a line is no dictionary.
    """
    require_memory(path)
    for number, text in enumerate(read_text(path).splitlines(), start=1):
        if not text.strip():
            continue
        try:
            content = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise InputError(f"{path}, line {number}: malformed JSON ({error}); correct the line") from error
        if not isinstance(content, dict):
            raise InputError(f"{path}, line {number}: is {type(content).__name__}, not a dictionary; correct the line")
        yield number, content


def _image_key(content: dict[str, Any]) -> str | None:
    return next((key for key in IMAGE_KEYS if isinstance(content.get(key), str)), None)


def _read_file(layout: Layout, file: str, key: str | None) -> Iterator[_Line]:
    """Yield the lines of a file that name an image; `key` is the key of its name, None to find it."""
    path = layout.root / file
    names = ImageNames(layout, file)
    folder = posixpath.dirname(file)
    for number, content in numbered_dictionaries(path):
        key_here = key or _image_key(content)
        written = content.get(key_here) if key_here else None
        if not isinstance(written, str) or not written:
            raise InputError(
                f"{path}, line {number}: names no image ({', '.join(IMAGE_KEYS[:3])}); name the key with "
                "`lightning-rcnn pack jsonl ... --map file_name=KEY`"
            )
        beside = posixpath.normpath(posixpath.join(folder, written))
        yield _Line(file, beside if beside in layout.image_set else names.find(written), content)


def _sizes_and_boxes(
    layout: Layout, lines: Sequence[_Line], fields: Mapping[str, str]
) -> Iterator[tuple[tuple[int, int], list[list[float]]]]:
    """Yield the (width, height) and the boxes of each line that has some."""
    num_opened = 0
    for line in lines:
        boxes = _boxes(line, fields)
        size = size_of(line.content, fields)
        if boxes and size is None and num_opened < _IMAGES_TO_OPEN:
            num_opened += 1
            try:
                size = open_image((layout.root / line.image).read_bytes()).size
            except (UndecodableImage, OSError, ValueError):
                continue
        if boxes and size:
            yield size, boxes


def _boxes(line: _Line, fields: Mapping[str, str]) -> list[list[float]]:
    try:
        listed = boxes_of(line.content, fields["boxes"])
    except LabelsError:  # reported when the line is read
        return []
    return [box for each in listed if (box := numbers(each)) is not None and len(box) == 4]


def _is_relative(lines: Iterable[_Line], fields: Mapping[str, str]) -> bool:
    """Return whether boxes, or else polygons, are shares of the image's size."""
    if "boxes" in fields:
        return are_relative(box for line in lines for box in _boxes(line, fields))
    masks = [mask for line in lines for mask in _column(line, fields["masks"])]
    return are_relative(polygon for mask in masks for polygon in polygons_of(read_segmentation(mask)))


def _column(line: _Line, path: str) -> list[Any]:
    try:
        return column(line.content, path)
    except LabelsError:
        return []


def _numbers(lines: Iterable[_Line], path: str) -> list[str]:
    """Return the classes in the order of their numbers if all are numbers; else none."""
    written = {each for line in lines for each in _column(line, path) if isinstance(each, str | int | float)}
    if not written or not all(type(each) is int for each in written):
        return []
    return [str(each) for each in sorted(written)]


def _splits(layout: Layout, images: Iterable[tuple[_Line, LabeledImage]]) -> list[LabeledSplit]:
    """Return the splits that the paths of the files name, or else those that the folders of the images do."""
    by_split: defaultdict[str, list[LabeledImage]] = defaultdict(list)
    for line, image in images:
        by_split[split_of(line.file) or split_of_folder(line.image)].append(image)
    if len(by_split) > 1 and "" in by_split:
        by_split["other"] = by_split.pop("")
    return [
        LabeledSplit(split, layout.root, by_split[split], DefectLog(), lists_all=True) for split in in_order(by_split)
    ]
