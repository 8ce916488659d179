"""Read an XML file of Pascal VOC.

VOC counts pixels from 1 and a box includes its last pixel, so the edges are (xmin - 1, ymin - 1, xmax, ymax). Tools
that imitate the format often write edges that count from 0; "zero_based" takes the numbers as they are, and
`voc_coordinates.py` tells which they are. A box with xmin = xmax counts as a click without a drag in either case: an
object one pixel wide looks the same.

Roboflow and supervision add the object's outline, `<polygon><x1>..</x1><y1>..</y1><x2>...`, whose points count alike.
"""

import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterable, Mapping
from math import nan
from pathlib import Path
from typing import Literal

from lightning_rcnn.data.defects import Defect, Finding
from lightning_rcnn.data.formats.coco.scalars import flag, number
from lightning_rcnn.data.formats.rotation import edges_around_rotated, is_turned
from lightning_rcnn.data.formats.xml_files import MalformedXmlError, parse_xml
from lightning_rcnn.data.pack.annotated import AnnotatedObject
from lightning_rcnn.data.pack.boxes import Edges
from lightning_rcnn.data.pack.image_info import Size

Coordinates = Literal["one_based", "zero_based"]

_COORDINATE = re.compile(r"([xy])(\d{1,9})")
OBJECT_IDS_PER_IMAGE = 100_000
"""Factor of the ids of VOC's objects, which have none: object i of image n gets n * this + i."""


def class_names(paths: Iterable[Path]) -> list[str]:
    """Return the sorted class names in XML files; files that do not parse are ignored."""
    names = set()
    for path in paths:
        try:
            # Only direct children: the parts of a person (head, hand, foot) have names too.
            names |= {_text(element, "name") for element in _parse(path).findall("object")}
        except MalformedXmlError:
            continue
    return sorted(names - {""})


def boxes_in(path: Path) -> list[tuple[str, ...]]:
    """Return xmin, ymin, xmax and ymax of each object as they are written; none if the file does not parse."""
    try:
        return [_written_box(element) for element in _parse(path).findall("object")]
    except MalformedXmlError:
        return []


def stated_files(path: Path) -> list[str]:
    """Return the names that a file states for its image, `filename` before `path`; none if it does not parse."""
    try:
        root = _parse(path)
    except MalformedXmlError:
        return []
    return [name for tag in ("filename", "path") if (name := _text(root, tag))]


def read_xml(
    path: Path, image_id: int, labels: Mapping[str, int], coordinates: Coordinates, *, chosen: bool = False
) -> tuple[Size, list[AnnotatedObject], list[Finding]]:
    """Read the annotation of one image.

    Args:
        path: path of the file.
        image_id: id of the image.
        labels: class name -> label.
        coordinates: whether coordinates count from 1 or from 0.
        chosen: whether the user requested the classes in `labels`, so that objects of other classes are left out.

    Returns:
        The stated (width, height) in pixels, zeros if there is none; the objects; and their defects.

    Raises:
        MalformedXmlError: the file does not parse.
    """
    root = _parse(path)
    objects, findings = [], []
    for position, element in enumerate(root.findall("object"), start=1):
        name = _text(element, "name")
        if chosen and name and name not in labels:
            findings.append(Finding(Defect.OTHER_CLASS, f"{path.name}, object {position}, {name}"))
            continue
        written = _box(element)
        edges, defects = (None, []) if written is None else _to_edges(written, coordinates)
        if edges is not None and is_turned(degrees := _rotation(element)):
            edges, defects = edges_around_rotated(edges, degrees), [*defects, Defect.ROTATED_BOX]
        annotated = AnnotatedObject(
            id=image_id * OBJECT_IDS_PER_IMAGE + position,
            edges=edges,
            label=labels.get(name),
            difficult=int(flag(_text(element, "difficult"))),
            segmentation=_polygons(element, 1 if coordinates == "one_based" else 0) or None,
        )
        objects.append(annotated)
        findings += [Finding(defect, f"{path.name}, object {position}") for defect in defects]
    size = (_whole_number(root, "size/width"), _whole_number(root, "size/height"))
    return size, objects, findings


def _to_edges(written: Edges, coordinates: Coordinates) -> tuple[Edges, list[Defect]]:
    x1, y1, x2, y2 = written
    if coordinates == "zero_based" or x2 <= x1 or y2 <= y1:  # the rules report an inverted or empty box as written
        return written, []
    if 0 <= min(x1, y1) < 1:
        return (max(x1 - 1, 0), max(y1 - 1, 0), x2, y2), [Defect.ONE_BASED_BOX, Defect.ZERO_COORDINATE]
    return (x1 - 1, y1 - 1, x2, y2), [Defect.ONE_BASED_BOX]


def _parse(path: Path) -> ElementTree.Element:
    root = parse_xml(path)
    if root.tag.lower() != "annotation" and root.find("object") is None:
        raise MalformedXmlError(f"its root is <{root.tag}>, not <annotation>")
    return root


def _text(element: ElementTree.Element, path: str) -> str:
    return (element.findtext(path) or "").strip()


def _written_box(element: ElementTree.Element) -> tuple[str, ...]:
    return tuple(_text(element, f"bndbox/{name}") for name in ("xmin", "ymin", "xmax", "ymax"))


def _box(element: ElementTree.Element) -> Edges | None:
    try:
        x1, y1, x2, y2 = map(float, _written_box(element))
    except ValueError:
        return None
    return x1, y1, x2, y2


def _polygons(element: ElementTree.Element, first: int) -> list[list[float]]:
    """Return the outlines [x, y, x, y, ...] of an object whose pixels count from `first`; the rules check them.

    Points are in the order of their numbers; a coordinate that is missing, or stated twice, is NaN.
    """
    polygons = []
    for polygon in element.findall("polygon"):
        written: dict[tuple[int, str], float] = {}
        for each in polygon:
            if match := _COORDINATE.fullmatch(each.tag):
                key, value = (int(match[2]), match[1]), number(each.text)
                written[key] = nan if value is None or key in written else value - first
        points = sorted({point for point, _ in written})
        if points:
            polygons.append([written.get((point, axis), nan) for point in points for axis in "xy"])
    return polygons


def _rotation(element: ElementTree.Element) -> float:
    """Return the clockwise rotation in degrees that CVAT writes beside a box as it was before; 0 if there is none."""
    stated = {_text(each, "name"): _text(each, "value") for each in element.findall("attributes/attribute")}
    return number(stated.get("rotation")) or 0.0


def _whole_number(element: ElementTree.Element, path: str) -> int:
    try:
        return int(float(_text(element, path)))
    except (ValueError, OverflowError):
        return 0
