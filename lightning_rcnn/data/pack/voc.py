"""Pascal VOC: a folder with `Annotations/*.xml`, `ImageSets/Main/*.txt` and `JPEGImages/*`.

Source: the PASCAL VOC development kit, chapters "Image sets" and "Annotation".
"""

import re
from functools import partial
from pathlib import Path, PurePath
from typing import NamedTuple

from lightning_rcnn.data.index import Category
from lightning_rcnn.data.pack.annotated import AnnotatedImage, read_annotated_image
from lightning_rcnn.data.pack.defects import Defect, DefectLog, Finding
from lightning_rcnn.data.pack.pictures import IMAGE_SUFFIXES
from lightning_rcnn.data.pack.source import Outcome, Source
from lightning_rcnn.data.pack.voc_xml import Coordinates, MalformedXmlError, class_names, read_xml
from lightning_rcnn.errors import InputError


class VocItem(NamedTuple):
    """An image of a split: its number there, from 1, and the files that belong to its name."""

    image_id: int
    name: str
    image_path: Path | None
    xml_path: Path | None


def voc_source(
    root: Path, split: str, *, classes: list[str] | None = None, coordinates: Coordinates = "one_based"
) -> Source:
    """List a split of a Pascal VOC data set.

    Args:
        root: the folder that holds `Annotations`, such as `VOCdevkit/VOC2007`.
        split: a file name in `ImageSets/Main` without its ending.
        classes: label i is the i-th of these, and objects of others are skipped; by default all that occur in
            `Annotations`, sorted, so that every split of a data set gets the same labels.
        coordinates: how the boxes are counted (see `voc_xml.py`).

    Raises:
        InputError: no such data set or split, or no object in it.
    """
    _require_folders(root)
    xml_files = {path.stem: path for path in sorted((root / "Annotations").glob("*.xml"))}
    images: dict[str, Path] = {}
    for path in sorted((root / "JPEGImages").iterdir()):
        if path.suffix.lower() in IMAGE_SUFFIXES:
            images.setdefault(path.stem, path)

    log = DefectLog()
    items: dict[str, VocItem] = {}
    for number, line in enumerate(_read_split(root, split), start=1):
        name = _name_in_line(line, images.keys() | xml_files.keys())
        if name in items:
            log.add([Finding(Defect.DUPLICATE_IMAGE, name)])
        else:
            items[name] = VocItem(number, name, images.get(name), xml_files.get(name))

    categories = _number_classes(root, classes or class_names(xml_files.values()))
    labels = {category.name: category.label for category in categories}
    read = partial(read_item, labels=labels, coordinates=coordinates)
    return Source(f"{root.resolve().name}/{split}", categories, list(items.values()), read, log)


def read_item(item: VocItem, labels: dict[str, int], coordinates: Coordinates) -> Outcome:
    """Read one image and its XML file."""
    if item.image_path is None:
        return Outcome(None, [Finding(Defect.MISSING_IMAGE, item.name)])
    if item.xml_path is None:
        return Outcome(None, [Finding(Defect.IMAGE_WITHOUT_ANNOTATION, item.image_path.name)])
    try:
        size, objects, findings = read_xml(item.xml_path, item.image_id, labels, coordinates)
    except MalformedXmlError as error:
        return Outcome(None, [Finding(Defect.MALFORMED_XML, f"{item.xml_path.name}: {error}")])
    outcome = read_annotated_image(AnnotatedImage(item.image_id, item.image_path.name, item.image_path, size, objects))
    if outcome.sample is None:
        return outcome
    return Outcome(outcome.sample, findings + outcome.findings)


def _require_folders(root: Path) -> None:
    missing = [name for name in ("Annotations", "ImageSets/Main", "JPEGImages") if not (root / name).is_dir()]
    if not missing:
        return
    inside = sorted(str(path.parent) for path in root.glob("*/Annotations"))
    way_out = f"did you mean {' or '.join(inside)}?" if inside else "give the folder that holds Annotations"
    raise InputError(f"{root}: no Pascal VOC data set, it has no {', no '.join(missing)}; {way_out}")


def _read_split(root: Path, split: str) -> list[str]:
    folder = root / "ImageSets" / "Main"
    path = folder / f"{split}.txt"
    if not path.is_file():
        available = ", ".join(sorted(other.stem for other in folder.glob("*.txt"))) or "none"
        raise InputError(f"{path}: no such split; there is: {available}")
    return [line.strip() for line in path.read_text(encoding="utf-8-sig").splitlines() if line.strip()]


def _name_in_line(line: str, known: set[str]) -> str:
    """The image name in a line of a split.

    The lists of one class have a second column, -1, 0 or 1; some tools write file names with their ending. Since a name
    may hold spaces and dots itself, the longest reading that names a file wins.
    """
    bare = re.sub(r"\s+-?[01]$", "", line)
    readings = [line, bare]
    readings += [
        PurePath(reading).stem for reading in (line, bare) if PurePath(reading).suffix.lower() in IMAGE_SUFFIXES
    ]
    return next((reading for reading in readings if reading in known), bare)


def _number_classes(root: Path, classes: list[str]) -> list[Category]:
    if not classes:
        raise InputError(
            f"{root / 'Annotations'}: no object in any XML file; name the classes with --classes to pack it"
        )
    if len(set(classes)) < len(classes):
        raise InputError(f"classes {', '.join(classes)}: a name stands there twice")
    return [Category(label, name, label) for label, name in enumerate(classes, start=1)]
