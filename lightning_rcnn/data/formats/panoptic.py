"""Read COCO's panoptic segmentation: a JSON file, and a PNG for each image whose colors number its segments.

    annotations/panoptic_val2017.json   annotations/panoptic_val2017/000000000139.png   val2017/000000000139.jpg

The number of a segment is red + 256 * green + 65536 * blue, and 0 belongs to none. Things are objects; stuff, such as
sky and road, is left out.

Source: https://cocodataset.org/#format-data (4. Panoptic Segmentation)
"""

import posixpath
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from lightning_rcnn.data.defects import Defect, DefectLog, Finding
from lightning_rcnn.data.formats.coco.scalars import flag, listed, whole_number
from lightning_rcnn.data.formats.labeled import (
    LabeledData,
    LabeledImage,
    LabeledObject,
    LabeledSplit,
    Labels,
    LabelsError,
)
from lightning_rcnn.data.formats.layout import Layout, read_json
from lightning_rcnn.data.formats.mask_pixels import object_of
from lightning_rcnn.data.formats.shapes import class_name_of, malformed
from lightning_rcnn.data.formats.splits import in_order, split_of, split_of_folder
from lightning_rcnn.errors import InputError


class _Category(NamedTuple):
    """A category, and whether it is one of things."""

    name: str
    is_thing: bool


class _File(NamedTuple):
    """The content of a file, whose lists have only dictionaries.

    Attributes:
        images, annotations: as in the file.
        categories: id -> category.
    """

    images: list[dict[str, Any]]
    annotations: list[dict[str, Any]]
    categories: dict[int, _Category]


def read_panoptic(layout: Layout) -> LabeledData:
    """List a data set in COCO's panoptic format.

    Raises:
        InputError: there is none, several files describe one split, or the categories of one are malformed.
    """
    by_split: defaultdict[str, list[str]] = defaultdict(list)
    for file in layout.with_suffix(".json"):
        if layout.json_kind(file) == "panoptic":
            by_split[split_of(file)].append(file)
    if not by_split:
        raise InputError(f"{layout.path}: no file of COCO's panoptic format, whose annotations have segments_info")
    for files in by_split.values():
        if len(files) > 1:
            commands = "; ".join(f"`lightning-rcnn pack panoptic {layout.root / file}`" for file in files)
            raise InputError(f"{layout.path}: several panoptic files of one split; choose one: {commands}")
    contents = {
        split: (by_split[split][0], _read_file(layout.root / by_split[split][0])) for split in in_order(by_split)
    }
    categories = {key: each for _, content in contents.values() for key, each in content.categories.items()}
    pngs = _Finder(layout.images)
    masks = {split: _find_masks(file, content, pngs) for split, (file, content) in contents.items()}
    images = _Finder([image for image in layout.images if image not in pngs.found])
    splits = [
        _read_split(layout, split or ("other" if len(contents) > 1 else ""), *contents[split], masks[split], images)
        for split in contents
    ]
    used = pngs.found | images.found
    splits[0].log.add(Finding(Defect.UNLISTED_FILE, image) for image in layout.images if image not in used)
    things = [categories[key].name for key in sorted(categories) if categories[key].is_thing]
    return LabeledData(", ".join(file for file, _ in contents.values()), splits, list(dict.fromkeys(things)))


class _Finder:
    """Files by the names in JSON, which does not state their folders.

    Args:
        images: files that may be meant.

    Attributes:
        found: files that were found.
    """

    def __init__(self, images: Sequence[str]) -> None:
        self._by_name: defaultdict[str, list[str]] = defaultdict(list)
        for image in images:
            self._by_name[posixpath.basename(image)].append(image)
        self.found: set[str] = set()

    def find(self, name: str, split: str, folder: str) -> str | None:
        """Return the file with a name: in the folder, else the only one, or the only one in a folder of the split."""
        alike = [file for file in self._by_name.get(posixpath.basename(name), []) if f"/{file}".endswith(f"/{name}")]
        inside = [file for file in alike if file == posixpath.join(folder, name)]
        of_split = [file for file in alike if split_of_folder(file) == split]
        for files in (inside, alike, of_split):
            if len(files) == 1:
                self.found.add(files[0])
                return files[0]
        return None


def _read_file(path: Path) -> _File:
    """Read a file.

    Raises:
        InputError: it is not in the format, or its categories do not say which are things.
    """
    content = read_json(path)
    lists = {}
    for key in ("images", "annotations", "categories"):
        value = content.get(key) if isinstance(content, dict) else None
        if not isinstance(value, list) or not all(isinstance(entry, dict) for entry in value):
            raise InputError(f"{path}: {key!r} is no list of objects; give a file of COCO's panoptic format")
        lists[key] = value
    categories: dict[int, _Category] = {}
    for entry in lists["categories"]:
        number, name = whole_number(entry.get("id")), class_name_of(entry.get("name"))
        if number is None or name is None or "isthing" not in entry:
            raise InputError(
                f"{path}: the category {str(entry)[:80]} lacks id, name or isthing, which says whether it is an object"
            )
        if categories.get(number, (name,))[0] != name:
            raise InputError(
                f"{path}: the category id {number} is both {categories[number].name!r} and {name!r}; correct one"
            )
        categories[number] = _Category(name, flag(entry["isthing"]))
    return _File(lists["images"], lists["annotations"], categories)


def _find_masks(file: str, content: _File, finder: _Finder) -> list[str | None]:
    """Return the PNG of each annotation; None if it is not here."""
    names = [entry.get("file_name") for entry in content.annotations]
    folder, split = file.removesuffix(".json"), split_of(file)
    return [finder.find(name, split, folder) if isinstance(name, str) and name else None for name in names]


def _read_split(
    layout: Layout, split: str, file: str, content: _File, masks: list[str | None], finder: _Finder
) -> LabeledSplit:
    log = DefectLog()
    names: dict[int, str] = {}
    for entry in content.images:
        key, name = whole_number(entry.get("id")), entry.get("file_name")
        if key is None or not isinstance(name, str) or not name:
            log.add([Finding(Defect.INVALID_IMAGE_ENTRY, f"{file}: {str(entry)[:80]}")])
        elif key in names:
            log.add([Finding(Defect.DUPLICATE_IMAGE, f"{file}: id {key}, {name}")])
        else:
            names[key] = name
    images, described = [], set()
    for position, (entry, mask) in enumerate(zip(content.annotations, masks, strict=True), start=1):
        key, place = whole_number(entry.get("image_id")), f"{file}, annotation {position}"
        if key not in names:
            log.add([Finding(Defect.UNKNOWN_IMAGE, f"{place}: image {entry.get('image_id')}")])
            continue
        described.add(key)
        read = partial(
            _read_labels,
            layout.root / mask if mask else None,
            str(entry.get("file_name")),
            listed(entry.get("segments_info")),
            content.categories,
        )
        images.append(LabeledImage(finder.find(names[key], split, "") or names[key], read, place))
    without = [name for key, name in names.items() if key not in described]
    log.add(
        Finding(Defect.IMAGE_WITHOUT_ANNOTATION, f"{file}: {finder.find(name, split, '') or name}") for name in without
    )
    num_lost = len(content.images) - len(names) + len(without)
    return LabeledSplit(split, layout.root, images, log, num_lost=num_lost)


def _read_labels(path: Path | None, name: str, segments: list[Any], categories: Mapping[int, _Category]) -> Labels:
    """Read the PNG of one image.

    Raises:
        LabelsError: it is missing, cannot be read, or has no colors.
    """
    if path is None:
        raise LabelsError(f"its PNG {name} is not here, or there are several; it is in an archive of its own")
    numbers = _read_numbers(path)
    objects, findings, seen, covered = [], list[Finding](), {0}, int((numbers == 0).sum())
    for position, segment in enumerate(segments, start=1):
        number = whole_number(segment.get("id")) if isinstance(segment, dict) else None
        place = f"{name}, segment {position}"
        if number is None or number in seen:
            objects.append(malformed(f"{place}: no id, or one that occurs twice"))
            continue
        seen.add(number)
        pixels = numbers == number
        covered += int(pixels.sum())
        labeled = _read_segment(segment, pixels, categories, f"{place}, id {number}")
        if labeled.lost is Defect.NO_CLASS:
            findings.append(Finding(Defect.NO_CLASS, labeled.place))
        else:
            objects.append(labeled)
    if covered < numbers.size:
        others = _unlisted(numbers, seen)
        objects += [malformed(f"{name}: its color {each} is no segment of the JSON") for each in others]
    return Labels(objects, (numbers.shape[1], numbers.shape[0]), findings)


def _read_segment(
    segment: Mapping[str, Any], pixels: np.ndarray, categories: Mapping[int, _Category], place: str
) -> LabeledObject:
    key = whole_number(segment.get("category_id"))
    category = None if key is None else categories.get(key)
    if category is None:
        return LabeledObject(None, place=f"{place}: category {segment.get('category_id')}", lost=Defect.UNKNOWN_CLASS)
    if not category.is_thing:
        return LabeledObject(None, place=f"{place}: {category.name}", lost=Defect.NO_CLASS)
    return object_of(pixels, category.name, place)._replace(iscrowd=int(flag(segment.get("iscrowd"))))


def _unlisted(numbers: np.ndarray, seen: Iterable[int]) -> list[int]:
    return [number for number in np.unique(numbers).tolist() if number not in set(seen)]


def _read_numbers(path: Path) -> np.ndarray:
    """Return the number of the segment of each pixel, uint32 [h, w]."""
    try:
        with Image.open(path) as image:
            mode = image.mode
            colors = np.asarray(image.convert("RGB"), np.uint32)
    except Exception as error:  # Pillow raises anything on damaged files
        raise LabelsError(f"its PNG {path.name} cannot be read ({' '.join(str(error).split())})") from error
    if mode not in ("RGB", "RGBA", "P"):
        raise LabelsError(f"its PNG {path.name} has no colors (Pillow's mode {mode}), which number the segments")
    return colors[..., 0] + (colors[..., 1] << 8) + (colors[..., 2] << 16)
