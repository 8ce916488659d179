"""Write Pascal VOC: an XML file an image, and lists of the images of each split.

Boxes are whole pixels that count from 1 and include the last one, so edges move by up to half a pixel. A box that would
have no width or height by that keeps it: its edges have a fraction, and move by half a pixel too.

Source: http://host.robots.ox.ac.uk/pascal/VOC/voc2007/devkit_doc_07-Jun-2007.pdf
"""

import xml.etree.ElementTree as ElementTree
from collections import defaultdict
from collections.abc import Sequence
from math import floor
from pathlib import Path, PurePosixPath
from xml.etree.ElementTree import Element, SubElement

from lightning_rcnn.data.formats.write.base import FormatWriter, WrittenImage, WrittenObject
from lightning_rcnn.data.index import Category
from lightning_rcnn.skeleton import Skeleton


class VocWriter(FormatWriter):
    """Writes `JPEGImages/`, `Annotations/` and, for splits, `ImageSets/Main/SPLIT.txt`."""

    keeps = frozenset({"boxes", "difficult", "orientation"})

    def __init__(self, folder: Path, categories: Sequence[Category], skeleton: Skeleton | None = None) -> None:
        super().__init__(folder, categories, skeleton)
        self._stems: defaultdict[str, list[str]] = defaultdict(list)

    def write_named(self, name: str, image: WrittenImage, split: str) -> None:
        """Write the image and its XML file."""
        self.path("JPEGImages", name).write_bytes(image.data)
        stem = PurePosixPath(name).stem
        root = Element("annotation")
        _add(root, folder="JPEGImages", filename=name)
        _add(SubElement(root, "size"), width=image.width, height=image.height, depth=3)
        _add(root, segmented=0)
        for each in image.objects:
            self._add_object(root, each)
        ElementTree.indent(root)
        self.path("Annotations", f"{stem}.xml").write_bytes(ElementTree.tostring(root, encoding="utf-8") + b"\n")
        self._stems[split].append(stem)

    def finish(self) -> None:
        """Write the lists of the splits."""
        for split, stems in self._stems.items():
            if split:
                self.path("ImageSets", "Main", f"{split}.txt").write_text("".join(f"{stem}\n" for stem in stems))

    def _add_object(self, root: Element, each: WrittenObject) -> None:
        element = SubElement(root, "object")
        _add(element, name=self.class_name(each.label), pose="Unspecified", truncated=0, difficult=each.difficult)
        x1, y1, x2, y2 = each.box
        (xmin, xmax), (ymin, ymax) = _pixels(x1, x2), _pixels(y1, y2)
        _add(SubElement(element, "bndbox"), xmin=xmin, ymin=ymin, xmax=xmax, ymax=ymax)


def _pixels(first: float, last: float) -> tuple[float, float]:
    """Return two edges as the first and the last pixel, from 1; equal ones would be a click without a drag."""
    low, high = floor(first + 1.5), floor(last + 0.5)
    return (low, high) if low < high else (round(first + 0.5, 3), round(last + 0.5, 3))


def _add(parent: Element, **texts: object) -> None:
    for tag, text in texts.items():
        SubElement(parent, tag).text = str(text)
