"""Read the folders of OIDv4 ToolKit, which downloads classes of Open Images: a folder of images for each class.

    OID/Dataset/train/Apple/0fdea8a716155a8e.jpg   OID/Dataset/train/Apple/Label/0fdea8a716155a8e.txt

A line is the class, which may have spaces, left, top, right and bottom in pixels. An image with objects of two classes
is in both folders, each time with the objects of one of them: these are one image here.

Source: https://github.com/EscVM/OIDv4_ToolKit
"""

import posixpath
import re
from collections import defaultdict

from lightning_rcnn.data.defects import Defect, Finding
from lightning_rcnn.data.formats.labeled import LabeledData, LabeledImage, LabeledObject, LabeledSplit, Labels
from lightning_rcnn.data.formats.layout import Layout, read_text
from lightning_rcnn.data.formats.shapes import box_from_corners, class_name_of, malformed
from lightning_rcnn.data.formats.splits import in_order, split_of_folder
from lightning_rcnn.errors import InputError
from lightning_rcnn.plural import plural

_FOLDER = "Label"
_NUMBER = r"-?\d+(\.\d+)?"
_LINE = re.compile(rf"[^\d\s-].*(\s{_NUMBER}){{4}}")
_FILES_TO_TRY = 50


def oidv4_files(layout: Layout) -> list[str]:
    """Return the label files, if some of them are in this form."""
    files = [file for file in layout.with_suffix(".txt") if posixpath.basename(posixpath.dirname(file)) == _FOLDER]
    tried = files[:: max(1, len(files) // _FILES_TO_TRY)]
    return files if any(map(_LINE.fullmatch, (line for file in tried for line in layout.lines(file, 1)))) else []


def read_oidv4(layout: Layout) -> LabeledData:
    """List a data set of such folders.

    Raises:
        InputError: there are none.
    """
    files = oidv4_files(layout)
    if not files:
        raise InputError(f"{layout.path}: no folder `Label` with lines such as `Apple 12.0 30.5 200.0 180.25`")
    images = {posixpath.splitext(image)[0]: image for image in layout.images}
    by_split: defaultdict[str, dict[str, list[str]]] = defaultdict(dict)
    for file in files:
        of_class = posixpath.dirname(posixpath.dirname(file))  # a class may be called Train
        by_split[split_of_folder(of_class)].setdefault(posixpath.basename(file), []).append(file)
    if len(by_split) > 1 and "" in by_split:
        by_split["other"] = by_split.pop("")
    splits, num_joined = [], 0
    used = {image for file in files if (image := images.get(_beside(file)))}
    for split in in_order(by_split):
        num_joined += sum(len(alike) > 1 for alike in by_split[split].values())
        listed = [_read_image(layout, alike, images) for alike in by_split[split].values()]
        splits.append(LabeledSplit(split, layout.root, listed))
    splits[0].log.add(Finding(Defect.UNLISTED_FILE, image) for image in layout.images if image not in used)
    notes = (f"{plural(num_joined, 'image')} in the folders of several classes, joined",) if num_joined else ()
    return LabeledData(plural(len(files), "label file"), splits, notes=notes)


def _read_image(layout: Layout, files: list[str], images: dict[str, str]) -> LabeledImage:
    """Return an image with the objects of all its files."""
    found = [images[_beside(file)] for file in files if _beside(file) in images]
    objects = [
        _read_line(line, f"{file}, line {number}")
        for file in files
        for number, line in enumerate(read_text(layout.root / file).splitlines(), start=1)
        if line.strip()
    ]
    return LabeledImage(found[0] if found else f"{files[0]} (its image)", Labels(objects), files[0])


def _beside(file: str) -> str:
    """Return the image of a label file, without suffix."""
    folder, name = posixpath.split(file)
    return posixpath.join(posixpath.dirname(folder), posixpath.splitext(name)[0])


def _read_line(line: str, place: str) -> LabeledObject:
    *words, left, top, right, bottom = ["", *line.split()] if len(line.split()) >= 5 else [""] * 5
    name = class_name_of(" ".join(words))
    if name is None:
        return malformed(f"{place}: not a class and four numbers")
    return box_from_corners(name, (left, top, right, bottom), place)
