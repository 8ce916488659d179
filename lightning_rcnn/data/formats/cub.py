"""Read CUB-200-2011 and sets in its form, such as NABirds: tables of images, boxes and classes, by the images' ids.

    images.txt                  1 001.Black_footed_Albatross/Black_Footed_Albatross_0046_18.jpg
    bounding_boxes.txt          1 60.0 27.0 325.0 304.0           left, top, width and height in pixels
    image_class_labels.txt      1 1
    classes.txt                 1 001.Black_footed_Albatross
    train_test_split.txt        1 0                               0 is the test set

Parts and attributes are left out.

Source: https://www.vision.caltech.edu/datasets/cub_200_2011/ and https://dl.allaboutbirds.org/nabirds
"""

import posixpath
import re
from collections import defaultdict
from dataclasses import replace

from lightning_rcnn.data.defects import Defect, DefectLog, Finding
from lightning_rcnn.data.formats.annotation_files import ImageNames
from lightning_rcnn.data.formats.labeled import LabeledData, LabeledImage, LabeledObject, LabeledSplit, Labels
from lightning_rcnn.data.formats.layout import Layout, read_text
from lightning_rcnn.data.formats.shapes import box_from_sizes, class_name_of
from lightning_rcnn.data.formats.splits import in_order
from lightning_rcnn.errors import InputError

_BOXES = "bounding_boxes.txt"
_NEEDED = ("images.txt", "image_class_labels.txt", "classes.txt")
_SPLITS = "train_test_split.txt"
_LINE = re.compile(r"\S+(\s+-?\d+(\.\d+)?){4}")


def cub_files(layout: Layout) -> list[str]:
    """Return the tables of boxes that have the other tables beside them."""
    every = set(layout.all_files)
    return [
        file
        for file in layout.with_suffix(".txt")
        if posixpath.basename(file) == _BOXES
        and all(posixpath.join(posixpath.dirname(file), name) in every for name in _NEEDED)
        and any(_LINE.fullmatch(line.strip()) for line in layout.lines(file, 1))
    ]


def read_cub(layout: Layout) -> LabeledData:
    """List a data set of such tables.

    Raises:
        InputError: there are none, those of several sets, or one is malformed.
    """
    files = cub_files(layout)
    if not files:
        raise InputError(f"{layout.path}: no bounding_boxes.txt beside images.txt, image_class_labels.txt, classes.txt")
    if len(files) > 1:
        commands = " or ".join(f"`lightning-rcnn pack cub {layout.root / file}`" for file in files)
        raise InputError(f"{layout.path}: several data sets; choose one with {commands}")
    (file,) = files
    folder = posixpath.dirname(file)
    images, labels, classes = (_table(layout, posixpath.join(folder, name)) for name in _NEEDED)
    listed = posixpath.join(folder, _SPLITS)
    is_split = listed in layout.all_files
    in_training = _table(layout, listed) if is_split else {}
    log = DefectLog()
    objects = _objects(layout, file, images, {key: classes.get(label) for key, label in labels.items()}, log)
    names = ImageNames(layout, file)
    splits: defaultdict[str, list[LabeledImage]] = defaultdict(list)
    for key, written in images.items():
        split = {"1": "train", "0": "test"}.get(in_training.get(key, ""), "other") if is_split else ""
        if key in objects:
            splits[split].append(LabeledImage(names.find(written), Labels(objects[key]), file))
    if not splits:
        raise InputError(f"{layout.root / file}: no line is of an image in images.txt; give the tables of one set")
    without = [name for key, name in images.items() if key not in objects]
    log.add(Finding(Defect.IMAGE_WITHOUT_ANNOTATION, name) for name in without)
    read = [LabeledSplit(name, layout.root, splits[name]) for name in in_order(splits)]
    read[0] = replace(read[0], log=log, num_lost=len(without))
    used = [name for key in labels if (name := classes.get(labels[key])) is not None]
    return LabeledData(file, read, [name for name in dict.fromkeys(classes.values()) if name in set(used)])


def _objects(
    layout: Layout, file: str, images: dict[str, str], classes: dict[str, str | None], log: DefectLog
) -> dict[str, list[LabeledObject]]:
    """Return the objects of each image that has a line."""
    objects: defaultdict[str, list[LabeledObject]] = defaultdict(list)
    for number, line in enumerate(read_text(layout.root / file).splitlines(), start=1):
        key, *sizes = line.split() or [""]
        if key in images:
            name, place = class_name_of(classes.get(key)), f"{file}, line {number}"
            objects[key].append(box_from_sizes(name, sizes, place))
        elif key:
            log.add([Finding(Defect.UNKNOWN_IMAGE, f"{file}, line {number}: {key}")])
    return objects


def _table(layout: Layout, file: str) -> dict[str, str]:
    """Return id -> the rest of its line.

    Raises:
        InputError: a line has an id alone, or one that another line has.
    """
    table: dict[str, str] = {}
    for number, line in enumerate(read_text(layout.root / file).splitlines(), start=1):
        key, _, rest = line.strip().partition(" ")
        if key and (not rest.strip() or key in table):
            raise InputError(f"{layout.root / file}: line {number}, {line[:60]!r}: an id alone, or twice; correct it")
        if key:
            table[key] = rest.strip()
    return table
