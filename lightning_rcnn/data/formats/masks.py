"""Read masks in image files: one file per object, or one file per image with a number for each object.

| layout | files |
|---|---|
| Data Science Bowl 2018 | `ID/images/ID.png` with `ID/masks/*.png`, a black and white mask per object |
| Penn-Fudan and others | `images/NAME.png` with `masks/NAME.png` or `NAME_mask.png`, 0 is background |
| Cellpose | `NAME_img.png` with `NAME_masks.png`, or `NAME.png` with `NAME_cp_masks.png`, 0 is background |

`class_masks.py` has those whose numbers say the class, too.

Source: https://www.kaggle.com/c/data-science-bowl-2018, https://www.cis.upenn.edu/~jshi/ped_html/ and
https://cellpose.readthedocs.io/en/latest/train.html
"""

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path, PurePosixPath

import numpy as np

from lightning_rcnn.data.defects import Defect, DefectLog, Finding
from lightning_rcnn.data.formats.cityscapes_polygons import read_polygons
from lightning_rcnn.data.formats.class_masks import CLASS_FACTOR, Numbering, find_class_masks, read_class_mask
from lightning_rcnn.data.formats.labeled import LabeledData, LabeledImage, LabeledSplit, Labels, LabelsError
from lightning_rcnn.data.formats.layout import Layout
from lightning_rcnn.data.formats.mask_pixels import numbers_of, object_of, read_pixels
from lightning_rcnn.data.formats.pairing import nearest_images
from lightning_rcnn.data.formats.splits import in_order, split_of_folder
from lightning_rcnn.errors import InputError

_LOSSLESS = (".png", ".tif", ".tiff", ".bmp", ".gif")
_MASK_FOLDER = re.compile(r"masks?|instances?|instanceids|segmentationobject|labels?|gt|groundtruth|ground_truth")
_MASK_FOLDER_END = re.compile(r"(masks?|instances?)$")
_MASK_NAME = re.compile(r"([_-]cp)?[_-](masks?|instances?|instanceids|inst|labels?|seg|gt)$", re.IGNORECASE)
_IMAGE_NAME = re.compile(r"[_-](img|image)$", re.IGNORECASE)
_ADE20K = re.compile(r"(^|/)ADE_(train|val|frame)_[^/]*_(seg|parts_\d)\.png$")
_CLASS_VALUES = re.compile(r"pixel value\s*,\s*class\b", re.IGNORECASE)
"""The first line of the list of classes in Roboflow's export of semantic masks."""
_FILES_TO_TRY = 30


def read_masks(layout: Layout, class_name: str = "object", class_names: Mapping[int, str] | None = None) -> LabeledData:
    """List a data set of masks in image files.

    Args:
        layout: folder of the data set.
        class_name: name of the one class; Cityscapes has its own.
        class_names: label id -> name, where numbers in the masks are label id * 1000 + instance, as Cityscapes'.

    Raises:
        InputError: there are none, or the masks do not tell objects apart.
    """
    if (found := find_class_masks(layout)) is not None:
        numbering = found.numbering._replace(names=class_names) if class_names else found.numbering
        entries = {
            image: partial(
                read_polygons if mask.endswith(".json") else read_class_mask, layout.root / mask, numbering=numbering
            )
            for image, mask in found.masks.items()
        }
        splits, notes = _splits(layout, entries, found.without, found.alone, found.masks, found.rivals)
        classes = list(dict.fromkeys(numbering.names.values()))
        return LabeledData(found.title, splits, classes, (*found.notes, *notes))
    per_object = masks_per_object(layout)
    if per_object and class_names:
        raise InputError(f"{layout.path}: --class_names, but a mask for each object has no number; use --class_name")
    if per_object:
        read = partial(read_object_masks, class_name=class_name)
        entries = {
            image: partial(read, [layout.root / mask for mask in masks]) for image, masks in per_object.items() if masks
        }
        without = [image for image, masks in per_object.items() if not masks]
        splits, notes = _splits(layout, entries, without, [])
        return LabeledData("a mask per object", splits, [class_name], notes)
    pairs, alone = masks_per_image(layout)
    if not pairs:
        raise InputError(
            f"{layout.path}: no masks with images of their names; expected are folders such as images and masks"
        )
    _refuse_classes(layout, list(pairs.values()), is_named=bool(class_names))
    read_ids = (
        partial(read_class_mask, numbering=Numbering(class_names))
        if class_names
        else partial(read_id_mask, class_name=class_name)
    )
    classes = list(dict.fromkeys(class_names.values())) if class_names else [class_name]
    folders = {str(PurePosixPath(image).parent) for image in pairs}
    without = [image for image in layout.images if image not in pairs and str(PurePosixPath(image).parent) in folders]
    entries = {image: partial(read_ids, layout.root / mask) for image, mask in pairs.items()}
    splits, notes = _splits(layout, entries, [image for image in without if not _is_mask(image)], alone)
    return LabeledData("a mask per image with a number for each object", splits, classes, notes)


def masks_per_object(layout: Layout) -> dict[str, list[str]]:
    """Return image -> its masks for folders with one image and a folder of masks; empty for other layouts."""
    images: defaultdict[str, list[str]] = defaultdict(list)
    masks: defaultdict[str, list[str]] = defaultdict(list)
    for file in layout.images:
        folder = PurePosixPath(file).parent
        if folder.name.lower() in ("images", "image"):
            images[str(folder.parent)].append(file)
        elif folder.name.lower() in ("masks", "mask"):
            masks[str(folder.parent)].append(file)
    singles = {folder: files[0] for folder, files in images.items() if len(files) == 1}
    described = [folder for folder in masks if folder in singles]
    if not described or any(len(files) > 1 for files in images.values()):
        return {}
    if all(PurePosixPath(masks[folder][0]).stem == PurePosixPath(singles[folder]).stem for folder in described):
        return {}
    return {image: masks.get(folder, []) for folder, image in singles.items()}


def masks_per_image(layout: Layout) -> tuple[dict[str, str], list[str]]:
    """Return image -> its mask, and the masks without an image."""
    files = [file for file in layout.with_suffix(*_LOSSLESS, among=layout.images) if _is_mask(file)]
    by_stem: defaultdict[str, list[str]] = defaultdict(list)
    by_name: defaultdict[str, list[str]] = defaultdict(list)
    for image in layout.images:
        if not _is_mask(image):
            stem = PurePosixPath(image).stem
            by_stem[stem].append(image)
            by_name[_IMAGE_NAME.sub("", stem)].append(image)
    pairs, alone = {}, []
    for file in files:
        stem = PurePosixPath(file).stem
        name = _MASK_NAME.sub("", stem)
        images = by_stem.get(stem) or by_stem.get(name) or by_name.get(name, [])
        nearest = nearest_images(PurePosixPath(file), images)
        if len(nearest) == 1 and nearest[0] not in pairs:
            pairs[nearest[0]] = file
        else:
            alone.append(file)
    return pairs, alone


def read_object_masks(paths: Sequence[Path], class_name: str) -> Labels:
    """Read the masks of the objects of one image.

    Raises:
        LabelsError: a file cannot be read, or the sizes differ.
    """
    objects = []
    sizes = set()
    for path in paths:
        pixels = read_pixels(path, is_binary=True)
        sizes.add((pixels.shape[1], pixels.shape[0]))
        objects.append(object_of(pixels > 0, class_name, path.name))
    if len(sizes) > 1:
        raise LabelsError(f"{paths[0].parent.name}: the masks have different sizes")
    return Labels(objects, sizes.pop())


def read_id_mask(path: Path, class_name: str) -> Labels:
    """Read a mask with a number for each object.

    Raises:
        LabelsError: the file cannot be read, or has no such numbers.
    """
    pixels = read_pixels(path)
    objects = [object_of(pixels == number, class_name, f"{path.name}, {number}") for number in numbers_of(pixels, path)]
    return Labels(objects, (pixels.shape[1], pixels.shape[0]))


def _splits(
    layout: Layout,
    entries: dict[str, partial[Labels]],
    without: Sequence[str],
    alone: Sequence[str],
    stated_in: Mapping[str, str] = {},
    rivals: Mapping[str, str] = {},
) -> tuple[list[LabeledSplit], tuple[str, ...]]:
    """Return the splits; images without a mask, or with two, and masks without an image, count as lost."""
    by_split: defaultdict[str, list[LabeledImage]] = defaultdict(list)
    for image, read in sorted(entries.items()):
        by_split[split_of_folder(image)].append(LabeledImage(image, read, stated_in.get(image, "")))
    for file, image in rivals.items():
        by_split[split_of_folder(image)].append(LabeledImage(image, Labels(), file))
    for mask in alone:
        by_split[split_of_folder(mask)].append(LabeledImage(f"{mask} (its image)", Labels()))
    splits, notes = [], []
    for split in in_order([*by_split, *map(split_of_folder, without)]):
        lacking = [image for image in without if split_of_folder(image) == split]
        if split not in by_split:
            notes.append(f"{split or 'other images'}: no masks, left out")
            continue
        log = DefectLog()
        log.add(Finding(Defect.IMAGE_WITHOUT_ANNOTATION, image) for image in lacking)
        name = split or ("other" if len(by_split) > 1 else "")
        splits.append(LabeledSplit(name, layout.root, by_split[split], log, num_lost=len(lacking)))
    return splits, tuple(notes)


def _is_mask(file: str) -> bool:
    """Return whether a file is in a folder called like one of masks, or is called like a mask."""
    path = PurePosixPath(file)
    return any(
        _MASK_FOLDER.fullmatch(part.lower()) or _MASK_FOLDER_END.search(part.lower()) for part in path.parts[:-1]
    ) or bool(_MASK_NAME.search(path.stem))


def _refuse_classes(layout: Layout, masks: Sequence[str], *, is_named: bool) -> None:
    """Refuse masks that do not tell objects apart: black and white throughout, or with a list of their classes.

    Also those whose numbers are as large as of class and object together, if the classes are not named.
    """
    for file in layout.with_suffix(".csv"):
        if any(map(_CLASS_VALUES.match, layout.lines(file, 1))):
            raise InputError(
                f"{layout.root / file}: numbers in the masks (first: {masks[0]}) are classes, so the masks do not tell "
                "objects apart; export instances, from Roboflow as COCO Segmentation"
            )
    highest = set()
    for mask in masks[:: max(1, len(masks) // _FILES_TO_TRY)]:
        try:
            highest |= set(np.unique(read_pixels(layout.root / mask)).tolist()) - {0}
        except LabelsError as error:
            if _ADE20K.search(mask):
                raise InputError(
                    f"{layout.path}: {error}, as ADE20K's; convert its instances to COCO JSON, as Mask2Former's "
                    "`prepare_ade20k_ins_seg.py` does"
                ) from None
            if "colors" in str(error):
                raise InputError(f"{layout.path}: {error}; store one channel with 1, 2, 3, ...") from None
    if highest in ({255}, {65535}):
        raise InputError(
            f"{layout.path}: the masks are black and white (first: {masks[0]}), so they do not tell objects apart; "
            "give each object a number 1, 2, 3, ... or a file of its own"
        )
    if not is_named and highest and min(highest) >= CLASS_FACTOR:
        known = sorted({number // CLASS_FACTOR for number in highest})
        named = ",".join(f"{label}=NAME" for label in known[:3])
        raise InputError(
            f"{layout.path}: numbers in the masks (first: {masks[0]}) are {min(highest)} and more, as class * 1000 + "
            f"object has them, in MOTS for example; name the classes with `pack masks {layout.path} --class_names "
            f"{named}`, where those without a name are left out"
        )
