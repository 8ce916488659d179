"""Read MOTChallenge's sequences, and others in their form: `SEQUENCE/gt/gt.txt` beside `SEQUENCE/img1/000001.jpg`.

A line is frame, track, left, top, width, height, whether it counts, class, visibility. Pixels count from 1. What does
not count, such as distractors and reflections, is no object. CVAT and Datumaro add `gt/labels.txt` with the names of
the classes, and write edges as they were drawn, from 0. Frames of a sequence stay together where a set is divided.

Source: https://motchallenge.net/instructions/ and `datumaro/plugins/mot_format.py`
"""

import posixpath
import re
from collections import defaultdict
from collections.abc import Mapping
from functools import partial

from lightning_rcnn.data.defects import Defect, DefectLog, Finding
from lightning_rcnn.data.formats.coco.scalars import number, whole_number
from lightning_rcnn.data.formats.frames import numbered_frames
from lightning_rcnn.data.formats.labeled import LabeledData, LabeledImage, LabeledObject, LabeledSplit, Labels
from lightning_rcnn.data.formats.layout import Layout, read_text
from lightning_rcnn.data.formats.shapes import box_object, malformed
from lightning_rcnn.data.formats.splits import in_order, split_of_folder
from lightning_rcnn.errors import InputError
from lightning_rcnn.plural import plural

_CLASSES = {
    -1: "pedestrian",  # of MOT15, which has no classes
    1: "pedestrian",
    2: "person on vehicle",
    3: "car",
    4: "bicycle",
    5: "motorbike",
    6: "non-motorized vehicle",
    7: "static person",
}
_LINE = re.compile(r"\d+,-?\d+(,-?\d+(\.\d+)?){4},.*")


def mot_files(layout: Layout) -> list[str]:
    """Return the annotations of sequences whose images are here."""
    files = [file for file in layout.with_suffix(".txt") if f"/{file}".endswith("/gt/gt.txt")]
    folders = {posixpath.dirname(image) for image in layout.images} if files else set()
    files = [file for file in files if _image_folder(file) in folders]
    return [file for file in files if any(map(_LINE.fullmatch, layout.lines(file, 1)))]


def read_mot(layout: Layout) -> LabeledData:
    """List a data set of sequences.

    Raises:
        InputError: there is none, a line has no frame, or two images are one frame.
    """
    files = mot_files(layout)
    if not files:
        raise InputError(f"{layout.path}: no sequence with gt/gt.txt beside a folder img1 of images")
    by_split: defaultdict[str, list[LabeledImage]] = defaultdict(list)
    for file in files:
        by_split[split_of_folder(file)] += _read_sequence(layout, file)
    if len(by_split) > 1 and "" in by_split:
        by_split["other"] = by_split.pop("")
    splits = [LabeledSplit(name, layout.root, by_split[name], DefectLog(), True) for name in in_order(by_split)]
    return LabeledData(plural(len(files), "sequence"), splits)


def _image_folder(file: str) -> str:
    return posixpath.join(posixpath.dirname(posixpath.dirname(file)), "img1")


def _frames(layout: Layout, file: str) -> dict[int, str]:
    """Return number of a frame, from 1 -> image; the numbers in the names count from 1, of CVAT's from 0."""
    beginning = f"{_image_folder(file)}/"
    of_sequence = [image for image in layout.images if image.startswith(beginning)]
    numbered = numbered_frames(of_sequence, str(layout.root / file))
    first = int(0 in numbered)
    return {number + first: image for number, image in numbered.items()}


def _read_sequence(layout: Layout, file: str) -> list[LabeledImage]:
    frames = _frames(layout, file)
    names = _listed_names(layout, file)
    read = partial(_read_row, names=_CLASSES, first=1) if names is None else partial(_read_row, names=names, first=0)
    objects: defaultdict[int, list[LabeledObject]] = defaultdict(list)
    findings: defaultdict[int, list[Finding]] = defaultdict(list)
    for line, text in enumerate(read_text(layout.root / file).splitlines(), start=1):
        if not text.strip():
            continue
        cells = [cell.strip() for cell in text.split(",")]
        frame, place = whole_number(cells[0]), f"{file}, line {line}"
        if frame is None:
            raise InputError(
                f"{layout.root / place}: {cells[0][:40]!r} is no number of a frame; correct or remove the line"
            )
        labeled = read(cells, place=place)
        if labeled.lost is Defect.NO_CLASS:
            findings[frame].append(Finding(Defect.NO_CLASS, place))
        else:
            objects[frame].append(labeled)
    sequence = posixpath.basename(posixpath.dirname(posixpath.dirname(file)))
    return [
        LabeledImage(
            frames.get(frame, f"{file} (its frame {frame})"),
            Labels(objects[frame], findings=findings[frame]),
            file,
            group=sequence,
        )
        for frame in sorted({*frames, *objects, *findings})
    ]


def _listed_names(layout: Layout, file: str) -> dict[int, str] | None:
    """Return number -> name of the classes; None without a list of them."""
    beside = posixpath.join(posixpath.dirname(file), "labels.txt")
    if beside not in layout.all_files:
        return None
    return dict(enumerate((line.strip() for line in read_text(layout.root / beside).splitlines()), start=1))


def _read_row(cells: list[str], names: Mapping[int, str], first: int, place: str) -> LabeledObject:
    """Return the object of a line whose pixels count from `first`."""
    if len(cells) < 7 or None in (box := [number(cell) for cell in cells[2:6]]):
        return malformed(f"{place}: not frame, track and four numbers")
    label = whole_number(cells[7]) if len(cells) > 7 else -1
    if number(cells[6]) == 0:
        return LabeledObject(None, place=place, lost=Defect.NO_CLASS)
    name = names.get(label) if label is not None else None
    if name is None:
        return LabeledObject(None, place=f"{place}: class {label}", lost=Defect.UNKNOWN_CLASS)
    left, top, width, height = (value for value in box if value is not None)
    return box_object(name, left - first, top - first, width, height, place)
