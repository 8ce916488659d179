"""Public data sets of text files with an object a line: their templates, and how they are recognized.

| name | data sets |
|---|---|
| `widerface` | WIDER FACE: http://shuoyang1213.me/WIDERFACE/ |
| `deeppcb` | DeepPCB: https://github.com/tangsanli5201/DeepPCB |
| `kitti` | KITTI, and NVIDIA's TAO: https://www.cvlibs.net/datasets/kitti/eval_object.php |
| `visdrone` | VisDrone-DET: https://github.com/VisDrone/VisDrone-Dataset |
| `widerperson` | WiderPerson: http://www.cbsr.ia.ac.cn/users/sfzhang/WiderPerson/ |
| `bbgt` | Piotr's Toolbox, as ExDark: https://pdollar.github.io/toolbox/detector/bbGt.html |
"""

import posixpath
import re
from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

from lightning_rcnn.data.formats.labeled import LabeledData
from lightning_rcnn.data.formats.layout import Layout
from lightning_rcnn.data.formats.lines import AS_WRITTEN, ONLY_CLASS, Classes, read_lines

_PCB = {"1": "open", "2": "short", "3": "mousebite", "4": "spur", "5": "copper", "6": "pin-hole"}
_DRONE = ["pedestrian", "people", "bicycle", "car", "van", "truck", "tricycle", "awning-tricycle", "bus", "motor"]
_PERSONS = {"1": "pedestrian", "2": "rider", "3": "partially-visible person"}
_NUMBER = r"-?\d+(\.\d+)?(e[-+]\d+)?"
_KITTI = re.compile(rf"[^\s,\d]\S*(\s+{_NUMBER}){{14,15}}")


class KnownLines(NamedTuple):
    """A data set of text files.

    Attributes:
        template: what is in a line.
        is_file: test of the first three lines of a text file, for recognition.
        classes: what the classes in the files mean.
        image_suffix: what the names of images have after those of their text files.
        has_image: whether a text file needs an image of its name to be recognized, since others have such lines, too.
    """

    template: str
    is_file: Callable[[list[str]], bool]
    classes: Classes = AS_WRITTEN
    image_suffix: str = ""
    has_image: bool = False


def _all_match(pattern: str | re.Pattern[str]) -> Callable[[list[str]], bool]:
    return lambda lines: bool(lines) and all(re.fullmatch(pattern, line) for line in lines)


def _is_widerface(lines: list[str]) -> bool:
    """Return whether lines are an image, a number, and a box of ten numbers."""
    return (
        len(lines) == 3
        and bool(re.search(r"\.(jpe?g|png)$", lines[0], re.IGNORECASE))
        and lines[1].isdigit()
        and len(lines[2].split()) == 10
    )


def _is_widerperson(lines: list[str]) -> bool:
    return len(lines) > 1 and lines[0].isdigit() and _all_match(r"[1-5](\s-?\d+){4}")(lines[1:])


KNOWN_LINES = {
    "widerface": KnownLines("image; count; x y w h _ _ _ difficult _ _", _is_widerface, Classes({ONLY_CLASS: "face"})),
    "deeppcb": KnownLines(
        "x1 y1 x2 y2 class", _all_match(r"\d+([ ,]\d+){3}[ ,][1-6]"), Classes(_PCB), "_test", has_image=True
    ),
    "kitti": KnownLines("class _ _ _ x1 y1 x2 y2", _all_match(_KITTI), Classes(none=("DontCare",))),
    "visdrone": KnownLines(
        "x,y,w,h,_,class",
        _all_match(r"-?\d+(,-?\d+){7},?"),
        Classes({str(number): name for number, name in enumerate(_DRONE, start=1)}, none=("0", "11")),
        has_image=True,
    ),
    "widerperson": KnownLines(
        "count; class x1 y1 x2 y2",
        _is_widerperson,
        Classes(_PERSONS, groups={"5": "pedestrian"}, none=("4",)),
        has_image=True,
    ),
    "bbgt": KnownLines(
        "class x y w h _ _ _ _ _ difficult _", lambda lines: bool(lines) and lines[0].startswith("% bbGt")
    ),
}
"""Name of the command -> data set."""


def read_known_lines(layout: Layout, name: str) -> LabeledData:
    """List the data set of a name.

    Raises:
        InputError: there are no such files.
    """
    known = KNOWN_LINES[name]
    data = read_lines(layout, known.template, known.classes, known.image_suffix)
    return replace(data, class_names=list(known.classes.names.values()) or None)


def find_known_lines(layout: Layout) -> tuple[str, str] | None:
    """Return the name of a data set, and its first text file; None if there is none."""
    texts = layout.with_suffix(".txt")[:1000]
    names = [posixpath.basename(image) for image in layout.images] if texts else []
    named = {*names, *(posixpath.splitext(name)[0] for name in names)}
    for name, known in KNOWN_LINES.items():
        for file in texts:
            image = posixpath.splitext(posixpath.basename(file))[0] + known.image_suffix
            if (not known.has_image or image in named) and known.is_file(layout.lines(file, 3)):
                return name, file
    return None
