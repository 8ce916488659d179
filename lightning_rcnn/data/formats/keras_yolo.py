"""Read the text files of keras-yolo3 and its kin, as Roboflow's "YOLO v4 PyTorch": an image with all its boxes a line.

    photos/a.jpg 5,6,15,26,0 10,10,30,40,1

Source: https://github.com/qqwweee/keras-yolo3
"""

import posixpath
import re
from collections.abc import Mapping

from lightning_rcnn.data.defects import Defect
from lightning_rcnn.data.formats.annotation_files import ImageNames, splits_of_files
from lightning_rcnn.data.formats.labeled import LabeledData, LabeledImage, LabeledObject, Labels
from lightning_rcnn.data.formats.layout import Layout, read_text
from lightning_rcnn.data.formats.shapes import box_from_corners, malformed
from lightning_rcnn.errors import InputError

_BOX = r"-?\d+(?:\.\d+)?(?:,-?\d+(?:\.\d+)?){3},\d+"
_LINE = re.compile(rf"(\S.*?\.(?:jpe?g|png|bmp|webp|tiff?))((?:\s+{_BOX})+)", re.IGNORECASE)
_IMAGE = re.compile(r"\S.*\.(jpe?g|png|bmp|webp|tiff?)", re.IGNORECASE)

_LINES_TO_TRY = 100
"""Images without objects may come first."""


def keras_yolo_files(layout: Layout, most: int | None = None) -> list[str]:
    """Return the text files, of the first `most`, of which one of the first lines has an image and its boxes."""
    files = layout.with_suffix(".txt")[:most]
    return [file for file in files if any(map(_LINE.fullmatch, layout.lines(file, _LINES_TO_TRY)))]


def read_keras_yolo(layout: Layout) -> LabeledData:
    """List a data set of such files, with the names of classes in a list called like classes.txt.

    Raises:
        InputError: there is none.
    """
    files = keras_yolo_files(layout)
    if not files:
        raise InputError(f"{layout.path}: no text file of keras-yolo3, with an image and its boxes a line")
    names = {file: _class_names(layout, file) for file in files}
    images = {file: _read_file(layout, file, names[file]) for file in files}
    listed = list(dict.fromkeys(name for of_file in names.values() for name in of_file.values()))
    notes = () if all(names.values()) else ("no list called classes.txt, so classes are called by their numbers",)
    return LabeledData(", ".join(files), splits_of_files(layout, images), listed or None, notes)


def _class_names(layout: Layout, file: str) -> dict[int, str]:
    """Return number -> name, by the list beside a file or else the only one; empty if there is none."""
    lists = [
        each for each in layout.with_suffix(".txt", among=layout.all_files) if each.lower().endswith("classes.txt")
    ]
    beside = [each for each in lists if posixpath.dirname(each) == posixpath.dirname(file)]
    chosen = beside if len(beside) == 1 else lists if len(lists) == 1 else []
    text = read_text(layout.root / chosen[0]) if chosen else ""
    return dict(enumerate(line.strip() for line in text.splitlines() if line.strip()))


def _read_file(layout: Layout, file: str, class_names: Mapping[int, str]) -> list[LabeledImage]:
    names = ImageNames(layout, file)
    images = []
    for number, line in enumerate(read_text(layout.root / file).splitlines(), start=1):
        written = line.strip()
        if match := _LINE.fullmatch(written):
            boxes = enumerate(match[2].split(), start=1)
            objects = [_read_box(box, class_names, f"{file}, line {number}, box {index}") for index, box in boxes]
            images.append(LabeledImage(names.find(match[1]), Labels(objects), file))
        elif _IMAGE.fullmatch(written):
            images.append(LabeledImage(names.find(written), Labels(), file))
        elif written:
            image = written.split()[0]
            images.append(LabeledImage(names.find(image), Labels([malformed(f"{file}, line {number}")]), file))
    return images


def _read_box(text: str, names: Mapping[int, str], place: str) -> LabeledObject:
    *corners, label = text.split(",")
    name = names.get(int(label)) if names else label
    if name is None:
        return LabeledObject(None, place=f"{place}: class {label}", lost=Defect.UNKNOWN_CLASS)
    return box_from_corners(name, corners, place)
