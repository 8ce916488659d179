"""Read text files with an object a line, by a template that names what is in a line.

| template | files |
|---|---|
| `x1 y1 x2 y2 class` | a text file for each image |
| `image,x1,y1,x2,y2,class` | a text file for many images |
| `count; class x1 y1 x2 y2` | a text file for each image, whose first line is a number |
| `image; count; x y w h` | a line with the image, a line with a number, and so many lines |

`_` is a column that does not matter; further columns at the end need no name. Lines that begin with % are remarks.
`known_lines.py` has the templates of public data sets.
"""

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from lightning_rcnn.data.defects import Defect, DefectLog, Finding
from lightning_rcnn.data.formats.annotation_files import ImageNames, splits_of_files
from lightning_rcnn.data.formats.coco.relative import are_relative
from lightning_rcnn.data.formats.coco.scalars import flag, number, whole_number
from lightning_rcnn.data.formats.labeled import LabeledData, LabeledImage, LabeledObject, LabeledSplit, Labels
from lightning_rcnn.data.formats.layout import Layout, read_text
from lightning_rcnn.data.formats.line_files import images_of_texts, listed_splits, without_other_texts
from lightning_rcnn.data.formats.splits import in_order, split_of_folder
from lightning_rcnn.errors import InputError
from lightning_rcnn.plural import plural

ONLY_CLASS = "object"
_REMARK = "%"
"""Beginning of a line that is a remark, as the first one of Piotr's Toolbox, "% bbGt version=3"."""
_BOXES = (("x1", "y1", "x2", "y2"), ("x", "y", "w", "h"), ("cx", "cy", "w", "h"))
_FIELDS = {"image", "class", "difficult", "_", *(field for box in _BOXES for field in box)}


class Template(NamedTuple):
    """What is in a line.

    Attributes:
        fields: meanings of the columns of an object's line.
        separator: pattern between the columns.
        has_blocks: whether a line with the image and a line with a number come before the objects of an image.
        has_count: whether the first line is a number.
    """

    fields: tuple[str, ...]
    separator: str
    has_blocks: bool
    has_count: bool = False


class Classes(NamedTuple):
    """What the classes in the files mean.

    Attributes:
        names: class as written -> name; empty if the class is called as it is written.
        groups: class as written -> name of the class of which such a box is a group.
        none: classes as written that are no objects, such as regions to ignore.
    """

    names: Mapping[str, str] = {}
    groups: Mapping[str, str] = {}
    none: tuple[str, ...] = ()


AS_WRITTEN = Classes()


def read_template(text: str) -> Template:
    """Read a template.

    Raises:
        InputError: a word is unknown, or the box is missing.
    """
    *before, line = (part.strip() for part in text.split(";"))
    has_commas = "," in line
    fields = tuple(field.strip() for field in (line.split(",") if has_commas else line.split()))
    unknown = [field for field in fields if field not in _FIELDS]
    box = next((box for box in _BOXES if set(box) <= set(fields)), None)
    if unknown or box is None or before not in ([], ["count"], ["image", "count"]):
        raise InputError(
            f"--template {text!r}: give the columns of a line, with a box as `x1 y1 x2 y2`, `x y w h` or `cx cy w h`, "
            "perhaps `image`, `class`, `difficult` and `_`; before it perhaps `count;` or `image; count;`"
        )
    separator = r"\s*,\s*" if has_commas else r"\s*,\s*|\s+"
    return Template(fields, separator, before == ["image", "count"], before == ["count"])


def read_lines(layout: Layout, template: str, classes: Classes = AS_WRITTEN, image_suffix: str = "") -> LabeledData:
    """List a data set of text files.

    Args:
        layout: folder of the data set, or one text file with its images beside it.
        template: what is in a line.
        classes: what the classes in the files mean.
        image_suffix: what the names of images have after those of their text files, such as "_test".

    Raises:
        InputError: the template is wrong, or there are no such files.
    """
    parsed = read_template(template)
    if parsed.has_blocks or "image" in parsed.fields:
        return _read_common_files(layout, parsed, classes)
    return _read_file_per_image(layout, parsed, classes, image_suffix)


def _read_common_files(layout: Layout, template: Template, classes: Classes) -> LabeledData:
    images = {}
    for file in layout.with_suffix(".txt"):
        numbered = enumerate(read_text(layout.root / file).splitlines(), start=1)
        lines = [(number_of_line, line.strip()) for number_of_line, line in numbered if line.strip()]
        rows = (
            _blocks(lines, template, layout.root / file) if template.has_blocks else _named_rows(lines, template, file)
        )
        objects: dict[str, list[LabeledObject]] = {}
        for image, line, cells in rows:
            listed = objects.setdefault(image, [])
            if cells:
                listed.append(_read_row(cells, template, classes, f"{file}, line {line}"))
        names = ImageNames(layout, file)
        found = {image: names.find(image) for image in objects}
        is_here = any(image in layout.image_set for image in found.values())
        if not is_here and all(each.lost for listed in objects.values() for each in listed) and not template.has_blocks:
            continue  # a readme
        if objects:
            images[file] = [LabeledImage(found[image], _labels(listed), file) for image, listed in objects.items()]
    if not images:
        raise InputError(f"{layout.path}: no text file with lines as in the template")
    return LabeledData(", ".join(images), splits_of_files(layout, images))


def _named_rows(
    lines: Sequence[tuple[int, str]], template: Template, file: str
) -> Iterator[tuple[str, int, list[str]]]:
    """Yield image, number of the line and cells; a line that ends before its image counts as one without a file."""
    column = template.fields.index("image")
    for number_of_line, line in lines:
        cells = re.split(template.separator, line)
        is_named = len(cells) > column and bool(cells[column])
        yield cells[column] if is_named else f"{file}, line {number_of_line} (its image)", number_of_line, cells


def _blocks(lines: Sequence[tuple[int, str]], template: Template, path: Path) -> Iterator[tuple[str, int, list[str]]]:
    """Yield image, number of the line and cells; no cells for an image without objects. None for another text.

    Raises:
        InputError: a block does not end where the next one begins, so that no later line can be trusted.
    """
    position = 0
    while position < len(lines):
        (first, image), (_, number_of_rows) = lines[position], (*lines, (0, ""))[position + 1]
        count = whole_number(number_of_rows)
        if (count is None or count < 0) and position == 0:
            return
        rows = [] if count is None or count < 0 else lines[position + 2 : position + 2 + count]
        if count != len(rows):
            raise InputError(
                f"{path}, line {first}: {image[:60]!r} is not followed by a number and so many lines; correct the file"
            )
        yield image, first, []
        for number_of_line, line in rows:
            yield image, number_of_line, re.split(template.separator, line)
        position += 2 + count
        # WIDER FACE writes one line of zeros where the number is zero.
        if not rows and position < len(lines) and not set(lines[position][1].split()) - {"0"}:
            position += 1


def _read_file_per_image(layout: Layout, template: Template, classes: Classes, image_suffix: str) -> LabeledData:
    if not layout.images and layout.path.is_dir():
        layout = layout.around()
    if not layout.images:
        raise InputError(
            f"{layout.path}: no images in it or beside it; give the folder that holds images and text files"
        )
    files, notes = without_other_texts(layout.with_suffix(".txt"))
    images = images_of_texts(layout.images, files, image_suffix)
    lists = listed_splits(layout, files)
    by_split: defaultdict[str, list[LabeledImage]] = defaultdict(list)
    for file, image in images.items():
        path = PurePosixPath(file)
        if image is None and not _looks_like_objects(layout, file, template):
            continue  # a list or a readme
        rows = [
            (line, re.split(template.separator, text.strip()))
            for line, text in enumerate(read_text(layout.root / file).splitlines(), start=1)
            if text.strip() and not text.startswith(_REMARK) and not (template.has_count and line == 1)
        ]
        objects = [_read_row(cells, template, classes, f"{path.name}, line {line}") for line, cells in rows]
        name = image or f"{file} (its image)"
        split = lists.get(file) or split_of_folder(file)
        by_split[split].append(LabeledImage(name, _labels(objects), file))
    if not by_split:
        raise InputError(f"{layout.path}: no text files with the names of images; with --image_suffix names may differ")
    if len(by_split) > 1 and "" in by_split:
        by_split["other"] = by_split.pop("")
    number_of_files = sum(map(len, by_split.values()))
    # With a suffix, other images have a meaning of their own, such as DeepPCB's templates.
    splits = [
        LabeledSplit(split, layout.root, by_split[split], DefectLog(), lists_all=not image_suffix)
        for split in in_order(by_split)
    ]
    return LabeledData(plural(number_of_files, "text file"), splits, notes=notes)


def _looks_like_objects(layout: Layout, file: str, template: Template) -> bool:
    lines = [line for line in layout.lines(file, 2) if not line.startswith(_REMARK)][int(template.has_count) :]
    rows = [_read_row(re.split(template.separator, line), template, AS_WRITTEN, file) for line in lines[:1]]
    return bool(rows) and all(row.lost is None for row in rows)


def _read_row(cells: Sequence[str], template: Template, classes: Classes, place: str) -> LabeledObject:
    if len(cells) < len(template.fields):
        text = f"{place}: {plural(len(cells), 'column')} where {len(template.fields)} are due"
        return LabeledObject(None, place=text, lost=Defect.MALFORMED_OBJECT)
    values = dict(zip(template.fields, cells, strict=False))
    box = next(box for box in _BOXES if set(box) <= values.keys())
    numbers = [number(values[field]) for field in box]
    if any(value is None for value in numbers):
        return LabeledObject(None, place=f"{place}: not numbers", lost=Defect.MALFORMED_OBJECT)
    a, b, c, d = (value for value in numbers if value is not None)
    edges = (a, b, c, d) if box[0] == "x1" else (a, b, a + c, b + d)
    if box[0] == "cx":
        edges = (a - c / 2, b - d / 2, a + c / 2, b + d / 2)
    written = values.get("class", ONLY_CLASS).strip()
    if written in classes.none:
        return LabeledObject(None, place=f"{place}, {written}", lost=Defect.NO_CLASS)
    group = classes.groups.get(written)
    name = group or (classes.names.get(written) if classes.names else written)
    if name is None:
        return LabeledObject(None, place=f"{place}: class {written}", lost=Defect.UNKNOWN_CLASS)
    difficult = int(flag(values.get("difficult")))
    return LabeledObject(name or None, edges, iscrowd=int(group is not None), difficult=difficult, place=place)


def _labels(rows: Sequence[LabeledObject]) -> Labels:
    """Return the objects of an image; what is no object is a finding, and counts as no loss."""
    objects = [each for each in rows if each.lost is not Defect.NO_CLASS]
    findings = [Finding(Defect.NO_CLASS, each.place) for each in rows if each.lost is Defect.NO_CLASS]
    is_relative = are_relative(each.edges for each in objects if each.edges is not None)
    return Labels([each._replace(is_relative=is_relative) for each in objects], findings=findings)
