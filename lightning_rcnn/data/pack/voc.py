"""List a Pascal VOC data set: a folder with `Annotations/*.xml`, `ImageSets/Main/*.txt` and `JPEGImages/*`.

Source: the PASCAL VOC development kit, chapters "Image sets" and "Annotation".
"""

import re
from collections import defaultdict
from collections.abc import Collection
from functools import partial
from operator import attrgetter
from pathlib import Path, PurePath, PurePosixPath
from typing import NamedTuple

from lightning_rcnn.data.defects import Defect, DefectLog, Finding
from lightning_rcnn.data.file_names import Fit, NameMatch, match_names
from lightning_rcnn.data.folder_listing import list_files
from lightning_rcnn.data.formats.xml_files import MalformedXmlError
from lightning_rcnn.data.image_formats import IMAGE_SUFFIXES
from lightning_rcnn.data.index import Category
from lightning_rcnn.data.pack.annotated import AnnotatedImage, read_annotated_image
from lightning_rcnn.data.pack.image_folder import name_findings
from lightning_rcnn.data.pack.source import Contents, Outcome, Source
from lightning_rcnn.data.pack.voc_masks import add_masks, mask_files
from lightning_rcnn.data.pack.voc_xml import Coordinates, class_names, read_xml, stated_files
from lightning_rcnn.data.text_encoding import UnreadableTextError, decode_text
from lightning_rcnn.errors import InputError


class VocItem(NamedTuple):
    """An image of a split.

    Attributes:
        image_id: position in the split, from 1.
        file_name: path of the image relative to its folder.
        image_path, xml_path: paths of image and XML file.
        mask_path: path of the image of its objects' masks; None if there is none.
    """

    image_id: int
    file_name: str
    image_path: Path
    xml_path: Path
    mask_path: Path | None = None


def voc_source(
    root: Path, split: str, *, classes: list[str] | None = None, coordinates: Coordinates = "one_based"
) -> Source:
    """List a split of a Pascal VOC data set.

    Args:
        root: folder that contains `Annotations`, such as `VOCdevkit/VOC2007`.
        split: file name in `ImageSets/Main` without its suffix, or with its folder, such as "Segmentation/train".
        classes: names of the classes; the i-th gets label i, and objects of other classes are skipped. By default all
            classes in `Annotations`, sorted, so that every split of a data set gets the same labels.
        coordinates: whether coordinates count from 1 or from 0 (see `voc_xml.py`).

    Raises:
        InputError: the data set or the split is missing, or it has no objects.
    """
    _require_folders(root, split)
    folders = root / "JPEGImages", root / "Annotations"
    images, xmls = _by_name(folders[0], IMAGE_SUFFIXES), _upright(folders[1], _by_name(folders[1], [".xml"]))
    log = DefectLog()
    names = [_name_in_line(line, images.keys() | xmls.keys()) for line in _read_split(root, split)]
    xml_matches = match_names(names, xmls.keys(), str(folders[1].resolve()))
    image_matches = match_names(names, images.keys(), str(folders[0].resolve()))
    items: dict[str, VocItem] = {}
    seen: set[str] = set()
    for number, name in enumerate(names, start=1):
        if name in seen:
            log.add([Finding(Defect.DUPLICATE_IMAGE, name)])
            continue
        seen.add(name)
        xml_match = xml_matches[name]
        xml_path = folders[1] / xmls[xml_match.file][0] if xml_match.file is not None else None
        image, findings = _choose_image(name, image_matches[name], images, xml_path, xmls.keys())
        if image is not None and xml_match.fit is Fit.NONE:
            findings = [Finding(Defect.IMAGE_WITHOUT_ANNOTATION, f"{image}{xml_match.hint}")]
        log.add(findings or name_findings(name, xml_match))
        if image is not None and xml_path is not None:
            items[name] = VocItem(number, image, folders[0] / image, xml_path)

    masks, unused = mask_files(root, list(items))
    log.add(unused)
    items = {name: item._replace(mask_path=masks.get(name)) for name, item in items.items()}
    names_of_classes = classes or class_names(folders[1] / files[0] for files in xmls.values())
    categories = number_classes(root / "Annotations", names_of_classes)
    left_out = Contents(images=len(seen) - len(items))
    name = f"{root.resolve().name}/{split}"
    return source_of(name, categories, list(items.values()), coordinates, log, left_out, chosen=bool(classes))


def source_of(
    name: str,
    categories: list[Category],
    items: list[VocItem],
    coordinates: Coordinates,
    log: DefectLog,
    left_out: Contents,
    *,
    chosen: bool,
) -> Source:
    """Return the source of listed images.

    Args:
        name: name for messages.
        categories: classes.
        items: images.
        coordinates: whether coordinates count from 1 or from 0.
        log: defects found while listing.
        left_out: numbers of images and objects without an item.
        chosen: whether the user requested the classes.
    """
    labels = {category.name: category.label for category in categories}
    read = partial(read_item, labels=labels, coordinates=coordinates, chosen=chosen)
    labels_of = partial(_labels_of, labels=labels)
    return Source(
        name,
        categories,
        items,
        read,
        log,
        left_out,
        attrgetter("file_name"),
        labels_of,
        needs_python=any(item.mask_path is not None for item in items),
    )


def _labels_of(item: VocItem, labels: dict[str, int]) -> set[int]:
    return {labels[name] for name in class_names([item.xml_path]) if name in labels}


def read_item(item: VocItem, labels: dict[str, int], coordinates: Coordinates, *, chosen: bool = False) -> Outcome:
    """Read one image and its XML file; see `read_xml`."""
    try:
        size, objects, findings = read_xml(item.xml_path, item.image_id, labels, coordinates, chosen=chosen)
    except MalformedXmlError as error:
        return Outcome(None, [Finding(Defect.MALFORMED_XML, f"{item.xml_path.name}: {error}")], 0)
    if item.mask_path is not None:
        objects, mask_findings = add_masks(objects, item.mask_path, item.image_id)
        findings += mask_findings
    image = AnnotatedImage(item.image_id, item.file_name, item.image_path, size, objects)
    outcome = read_annotated_image(image)
    if outcome.sample is None:
        return outcome
    return outcome._replace(findings=findings + outcome.findings)


def _by_name(folder: Path, suffixes: Collection[str]) -> dict[str, list[str]]:
    """Return path without suffix -> files of that name, all relative to the folder."""
    files: dict[str, list[str]] = {}
    for file in list_files(folder):
        path = PurePosixPath(file)
        if path.suffix.lower() in suffixes:
            files.setdefault(str(path.with_suffix("")), []).append(file)
    return files


def _upright(folder: Path, xmls: dict[str, list[str]]) -> dict[str, list[str]]:
    """Leave out files of rotated boxes alone beside others of the same names, as in DIOR's two folders."""
    same: defaultdict[str, list[str]] = defaultdict(list)
    for path in xmls:
        same[PurePosixPath(path).name].append(path)
    several = [path for paths in same.values() if len(paths) > 1 for path in paths]
    texts = {path: (folder / xmls[path][0]).read_bytes() for path in several}
    rotated = {path for path, text in texts.items() if b"<robndbox>" in text and b"<bndbox>" not in text}
    return {path: files for path, files in xmls.items() if path not in rotated}


def _choose_image(
    name: str, match: NameMatch, images: dict[str, list[str]], xml_path: Path | None, described: Collection[str]
) -> tuple[str | None, list[Finding]]:
    """Return the image with a name, or else the image that the name's XML file states."""
    files = images[match.file] if match.file is not None else []
    if len(files) == 1:
        return files[0], name_findings(name, match)
    # An image with an XML file of its own name belongs to that file.
    unclaimed = [file for stem, group in images.items() if stem not in described for file in group]
    for stated in stated_files(xml_path) if xml_path is not None else ():
        file = match_names([stated], files or unclaimed)[stated].file
        if file is not None:
            return file, [] if files else [Finding(Defect.INEXACT_FILE_NAME, f"{name}: {file}")]
    if files:
        return None, name_findings(name, NameMatch(Fit.AMBIGUOUS, hint=f"; it matches {' and '.join(files)}"))
    return None, name_findings(name, match)


def _require_folders(root: Path, split: str) -> None:
    lists = f"ImageSets/{split.rpartition('/')[0] or 'Main'}"
    missing = [name for name in ("Annotations", lists, "JPEGImages") if not (root / name).is_dir()]
    if not missing:
        return
    inside = sorted(str(path.parent) for path in root.glob("*/Annotations"))
    if inside:
        way_out = f"did you mean {' or '.join(inside)}?"
    elif "Annotations" in missing:
        way_out = "give the folder that holds Annotations"
    elif "JPEGImages" in missing:
        way_out = "put the images there, or a link to their folder"
    else:
        way_out = "write the names of its images, without suffix, one per line, into ImageSets/Main/train.txt"
    raise InputError(f"{root}: not a Pascal VOC data set, it has no {', no '.join(missing)}; {way_out}")


def _read_split(root: Path, split: str) -> list[str]:
    folder = root / "ImageSets" / (split.rpartition("/")[0] or "Main")
    path = folder / f"{split.rpartition('/')[2]}.txt"
    if not path.is_file():
        available = ", ".join(sorted(other.stem for other in folder.glob("*.txt"))) or "none"
        raise InputError(f"{path}: no such split; choose one of: {available}")
    try:
        lines = decode_text(path.read_bytes()).splitlines()
    except UnreadableTextError as error:
        raise InputError(f"{path}: {error}") from error
    return [line.strip() for line in lines if line.strip()]


def _name_in_line(line: str, known: set[str]) -> str:
    """Return the image name in a line of a split.

    The lists of one class have a second column with -1, 0 or 1, and some tools write file names with their suffix. A
    name may itself contain spaces and dots, so the longest reading that names a file is used.
    """
    bare = re.sub(r"\s+-?[01]$", "", line)
    readings = [line, bare]
    readings += [
        PurePath(reading).stem for reading in (line, bare) if PurePath(reading).suffix.lower() in IMAGE_SUFFIXES
    ]
    return next((reading for reading in readings if reading in known), bare)


def number_classes(folder: Path, classes: list[str]) -> list[Category]:
    """Return the classes with labels 1..K.

    Args:
        folder: folder of the XML files, for messages.
        classes: names.

    Raises:
        InputError: there is none, or one occurs twice.
    """
    if not classes:
        raise InputError(f"{folder}: no XML file has an object; name the classes with --classes to pack it")
    if len(set(classes)) < len(classes):
        raise InputError(f"--classes {', '.join(classes)}: a name occurs twice; give each name once")
    return [Category(label, name, label) for label, name in enumerate(classes, start=1)]
