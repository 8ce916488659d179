"""Read NWPU VHR-10: a text file for each image with objects, and a folder of images without.

    ground truth/001.txt   positive image set/001.jpg   negative image set/001.jpg

A line is `(x1,y1),(x2,y2),class`, with the number of the class from 1.

Source: Cheng et al., "Multi-class geospatial object detection and geographic image classification based on collection
of part detectors", ISPRS Journal 98, 2014, and the names of classes in `torchgeo/datasets/vhr10.py`
"""

import posixpath
import re

from lightning_rcnn.data.defects import Defect
from lightning_rcnn.data.formats.coco.scalars import whole_number
from lightning_rcnn.data.formats.labeled import LabeledData, LabeledImage, LabeledObject, LabeledSplit, Labels
from lightning_rcnn.data.formats.layout import Layout, read_text
from lightning_rcnn.data.formats.line_files import images_of_texts
from lightning_rcnn.data.formats.shapes import box_from_corners, malformed
from lightning_rcnn.errors import InputError
from lightning_rcnn.plural import plural

_CLASSES = (
    "airplane",
    "ship",
    "storage tank",
    "baseball diamond",
    "tennis court",
    "basketball court",
    "ground track field",
    "harbor",
    "bridge",
    "vehicle",
)
_LINE = re.compile(r"\(\s*(\S+?)\s*,\s*(\S+?)\s*\)\s*,\s*\(\s*(\S+?)\s*,\s*(\S+?)\s*\)\s*,\s*(\d+)")
_NEGATIVE = "negative"
"""Beginning of the name of the folder of images without objects."""
_FILES_TO_TRY = 100


def nwpu_files(layout: Layout) -> list[str]:
    """Return the text files, if one of the first has such lines."""
    files = layout.with_suffix(".txt")
    tried = (line.strip() for file in files[:_FILES_TO_TRY] for line in layout.lines(file, 1))
    if not any(map(_LINE.fullmatch, tried)):
        return []
    return [file for file in files if any(_LINE.fullmatch(line.strip()) for line in layout.lines(file, 3))]


def read_nwpu(layout: Layout) -> LabeledData:
    """List the data set.

    Raises:
        InputError: there are no such files.
    """
    files = nwpu_files(layout)
    if not files:
        raise InputError(f"{layout.path}: no text file with lines such as `(563,478),(630,573),1`")
    if not layout.images and layout.path.is_dir():
        files, layout = [f"{layout.path.resolve().name}/{file}" for file in files], layout.around()
    negatives = [image for image in layout.images if _is_negative(image)]
    paired = images_of_texts([image for image in layout.images if not _is_negative(image)], files, "")
    images = [
        LabeledImage(image or f"{file} (its image)", _read_file(layout, file), file) for file, image in paired.items()
    ]
    images += [LabeledImage(image, Labels(), posixpath.dirname(image)) for image in negatives]
    notes = (f"{plural(len(negatives), 'image')} without objects",) if negatives else ()
    split = LabeledSplit("", layout.root, images, lists_all=True)
    return LabeledData(plural(len(files), "text file"), [split], list(_CLASSES), notes)


def _is_negative(image: str) -> bool:
    return posixpath.basename(posixpath.dirname(image)).lower().startswith(_NEGATIVE)


def _read_file(layout: Layout, file: str) -> Labels:
    numbered = enumerate(read_text(layout.root / file).splitlines(), start=1)
    return Labels([_read_line(line.strip(), f"{file}, line {number}") for number, line in numbered if line.strip()])


def _read_line(line: str, place: str) -> LabeledObject:
    match = _LINE.fullmatch(line)
    if match is None:
        return malformed(f"{place}: not (x1,y1),(x2,y2),class")
    *corners, written = match.groups()
    number = whole_number(written) or 0
    if not 1 <= number <= len(_CLASSES):
        return LabeledObject(None, place=f"{place}: class {number}", lost=Defect.UNKNOWN_CLASS)
    return box_from_corners(_CLASSES[number - 1], corners, place)
