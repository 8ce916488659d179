"""List XML files in Pascal VOC's format in any folders: beside the images, in a folder of their own, with sub-folders.

LabelImg, Roboflow and most label tools write such sets, without VOC's lists of splits; `voc_lists.py` finds others. An
image and an XML file belong together by their names and the names of their folders; where several images fit, the XML
file says which.
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePosixPath

from lightning_rcnn.data.defects import Defect, DefectLog, Finding
from lightning_rcnn.data.formats.layout import Layout
from lightning_rcnn.data.formats.pairing import nearest_images
from lightning_rcnn.data.formats.splits import in_order, split_of_folder
from lightning_rcnn.data.pack.source import Contents, Source
from lightning_rcnn.data.pack.voc import VocItem, number_classes, source_of, voc_source
from lightning_rcnn.data.pack.voc_coordinates import CoordinatesChoice, coordinates_of
from lightning_rcnn.data.pack.voc_lists import ListedSplits, find_lists
from lightning_rcnn.data.pack.voc_xml import Coordinates, class_names, stated_files
from lightning_rcnn.errors import InputError

_LISTS = ("/ImageSets/Main/", "/ImageSets/Segmentation/")
"""Folders of the lists of splits; those of images with masks count where there are no others."""
_OTHER_ROOT = re.compile(r"^\s*(<\?.*?\?>|<!--.*?-->|<!DOCTYPE[^\[>]*>|\s)*<(?!annotation[\s>])[A-Za-z]", re.DOTALL)
"""The beginning of an XML file in another format."""


def voc_sources(
    layout: Layout, classes: Sequence[str] | None = None, choice: CoordinatesChoice = "auto"
) -> tuple[str, dict[str, Source], tuple[str, ...]]:
    """List a data set with VOC's XML files: all its splits.

    Args:
        layout: folder of the data set.
        classes: names of the classes; by default those of all splits, sorted.
        choice: whether coordinates count from 1 or from 0; "auto" to find out.

    Returns:
        The files by which it was read, for messages; split -> source, one without a name if the set is not split; and
        remarks for the user.

    Raises:
        InputError: there is nothing to pack, or there are several data sets.
    """
    kind, lists = next(((kind, files) for kind in _LISTS if (files := _files_in(layout, kind))), ("", []))
    roots = sorted({f"/{file}".rpartition(kind)[0].lstrip("/") for file in lists})
    if len(roots) > 1:
        commands = " or ".join(f"`lightning-rcnn pack auto {layout.root / root}`" for root in roots)
        raise InputError(f"{layout.path}: several data sets: {', '.join(roots)}; choose one with {commands}")
    if roots:
        root = layout.root / roots[0]
        splits = _listed_splits(PurePosixPath(file).stem for file in lists)
        chosen = list(classes) if classes else None
        prefix = kind.removeprefix("/ImageSets/").removeprefix("Main/")
        coordinates, notes = coordinates_of(choice, annotation_files(root))
        sources = {
            split: voc_source(root, f"{prefix}{split}", classes=chosen, coordinates=coordinates) for split in splits
        }
        return "ImageSets", sources, notes
    files = xml_files(layout)
    coordinates, notes = coordinates_of(choice, (layout.root / file for file in files))
    listed = find_lists(layout, files)
    evidence = ", ".join(["XML files", *listed.lists])
    return evidence, _folder_sources(layout, files, classes, coordinates, listed), notes


def annotation_files(root: Path) -> list[Path]:
    """Return the XML files of a set with VOC's folders."""
    return sorted((root / "Annotations").rglob("*.xml"))


def _files_in(layout: Layout, folder: str) -> list[str]:
    """Return the lists in a folder of this name, at any depth."""
    return [file for file in layout.with_suffix(".txt", among=layout.all_files) if folder in f"/{file}"]


def xml_files(layout: Layout) -> list[str]:
    """Return the XML files that are in VOC's format, or in none."""
    return [file for file in layout.xml_files if not _OTHER_ROOT.match(layout.head(file))]


def _listed_splits(names: Iterable[str]) -> list[str]:
    """Return the lists to pack: VOC has a list per class too, and trainval repeats train and val."""
    listed = set(names)
    usual = listed & {"train", "val", "test", "trainval"}
    if {"train", "val"} <= usual:
        usual.discard("trainval")
    return in_order(usual or {name for name in listed if not re.search(r"_(train|val|test|trainval)$", name)})


def _folder_sources(
    layout: Layout, files: Sequence[str], classes: Sequence[str] | None, coordinates: Coordinates, listed: ListedSplits
) -> dict[str, Source]:
    if not files:
        raise InputError(f"{layout.path}: no XML file in Pascal VOC's format")
    categories = number_classes(layout.root, list(classes or class_names(layout.root / file for file in files)))
    images = _Images(layout)
    matches = {file: images.match(file) for file in files}
    described: defaultdict[str | None, list[str]] = defaultdict(list)
    for file, (image, _) in matches.items():
        described[image].append(file)
    by_split: defaultdict[str, list[str]] = defaultdict(list)
    for file in files:
        by_split[listed.splits.get(file) or split_of_folder(file)].append(file)
    if len(by_split) > 1 and "" in by_split:
        by_split["other"] = by_split.pop("")
    splits = in_order(by_split)
    alone: defaultdict[str, list[str]] = defaultdict(list)
    for image in layout.images:
        if image not in described:
            named = split_of_folder(image)
            alone[named if named in by_split else splits[0]].append(image)
    sources = {}
    for split in splits:
        log = DefectLog()
        items = []
        for number, file in enumerate(by_split[split], start=1):
            image, findings = matches[file]
            rivals = described[image]
            if image is not None and len(rivals) > 1:
                log.add([Finding(Defect.TWO_ANNOTATION_FILES, f"{image}: {' and '.join(rivals)}")])
                continue
            log.add(findings)
            if image is not None:
                items.append(VocItem(number, image, layout.root / image, layout.root / file))
        missing = listed.missing.get(split, [])
        log.add(Finding(Defect.IMAGE_WITHOUT_ANNOTATION, name) for name in missing)
        log.add(Finding(Defect.UNLISTED_FILE, image) for image in alone[split])
        name = f"{layout.root.resolve().name}/{split}" if split else layout.root.resolve().name
        left_out = Contents(images=len(by_split[split]) + len(missing) - len(items))
        sources[split] = source_of(name, categories, items, coordinates, log, left_out, chosen=bool(classes))
    return sources


class _Images:
    """The images of a data set, by their names without suffix."""

    def __init__(self, layout: Layout) -> None:
        self._root = layout.root
        self._by_stem: defaultdict[str, list[str]] = defaultdict(list)
        for image in layout.images:
            self._by_stem[PurePosixPath(image).stem].append(image)
        self._all = layout.images

    def match(self, file: str) -> tuple[str | None, list[Finding]]:
        """Return the image that an XML file describes, or None; and findings."""
        path = PurePosixPath(file)
        nearest = nearest_images(path, self._by_stem.get(path.stem, []))
        if len(nearest) == 1:
            return nearest[0], []
        stated = [PurePosixPath(name.replace("\\", "/")).name for name in stated_files(self._root / file)]
        if nearest:
            fitting = [image for image in nearest if PurePosixPath(image).name in stated]
            if len(fitting) == 1:
                return fitting[0], []
            listed = " and ".join(nearest[:2])
            return None, [Finding(Defect.AMBIGUOUS_FILE_NAME, f"{file}; it matches {listed}")]
        for name in stated:
            same_name = [image for image in self._by_stem.get(PurePosixPath(name).stem, []) if image.endswith(name)]
            fitting = nearest_images(path, same_name)
            if len(fitting) == 1:
                return fitting[0], [Finding(Defect.INEXACT_FILE_NAME, f"{file}: {fitting[0]}")]
        return None, [Finding(Defect.MISSING_IMAGE, file)]
