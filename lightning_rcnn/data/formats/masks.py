"""Read masks in image files: one file per object, or one file per image with a number for each object.

| layout | files |
|---|---|
| Data Science Bowl 2018 | `ID/images/ID.png` with `ID/masks/*.png`, a black and white mask per object |
| Penn-Fudan and others | `images/NAME.png` with `masks/NAME.png` or `NAME_mask.png`, 0 is background |
| Cityscapes | `leftImg8bit/.../X_leftImg8bit.png` with `gtFine/.../X_gtFine_instanceIds.png` |

Source: https://www.kaggle.com/c/data-science-bowl-2018, https://www.cis.upenn.edu/~jshi/ped_html/ and
https://github.com/mcordts/cityscapesScripts
"""

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path, PurePosixPath

import numpy as np
from PIL import Image

from lightning_rcnn.data.defects import Defect, DefectLog, Finding
from lightning_rcnn.data.formats.labeled import (
    LabeledData,
    LabeledImage,
    LabeledObject,
    LabeledSplit,
    Labels,
    LabelsError,
)
from lightning_rcnn.data.formats.layout import Layout
from lightning_rcnn.data.formats.pairing import nearest_images
from lightning_rcnn.data.formats.splits import in_order, split_of_folder
from lightning_rcnn.errors import InputError
from lightning_rcnn.masks.run_length import encode_crop

CITYSCAPES = {
    24: "person",
    25: "rider",
    26: "car",
    27: "truck",
    28: "bus",
    31: "train",
    32: "motorcycle",
    33: "bicycle",
}
"""Label ids of the classes of Cityscapes' instance benchmark."""
_LOSSLESS = (".png", ".tif", ".tiff", ".bmp", ".gif")
_MASK_FOLDER = re.compile(r"masks?|instances?|instanceids|segmentationobject|labels?|gt|groundtruth|ground_truth")
_MASK_FOLDER_END = re.compile(r"(masks?|instances?)$")
_MASK_NAME = re.compile(r"[_-](masks?|instances?|instanceids|inst|labels?|seg|gt)$", re.IGNORECASE)
_CLASS_VALUES = re.compile(r"pixel value\s*,\s*class\b", re.IGNORECASE)
"""The first line of the list of classes in Roboflow's export of semantic masks."""
_VOC_FOLDER, _VOC_BORDER = "segmentationobject", 255
"""Pascal VOC's folder, and the number of the border around its objects, which belongs to none."""
_MAX_IDS = 20_000
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
    if is_cityscapes(layout):
        return _read_cityscapes(layout, class_names or CITYSCAPES)
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
    _refuse_semantic(layout, list(pairs.values()))
    read_ids = (
        partial(read_class_mask, classes=class_names) if class_names else partial(read_id_mask, class_name=class_name)
    )
    classes = list(dict.fromkeys(class_names.values())) if class_names else [class_name]
    folders = {str(PurePosixPath(image).parent) for image in pairs}
    without = [image for image in layout.images if image not in pairs and str(PurePosixPath(image).parent) in folders]
    entries = {image: partial(read_ids, layout.root / mask) for image, mask in pairs.items()}
    splits, notes = _splits(layout, entries, [image for image in without if not _is_mask(image)], alone)
    return LabeledData("a mask per image with a number for each object", splits, classes, notes)


def is_cityscapes(layout: Layout) -> bool:
    """Return whether there are masks as in Cityscapes."""
    return any(image.endswith("_instanceIds.png") for image in layout.images)


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
    for image in layout.images:
        if not _is_mask(image):
            by_stem[PurePosixPath(image).stem].append(image)
    pairs, alone = {}, []
    for file in files:
        stem = PurePosixPath(file).stem
        images = by_stem.get(stem) or by_stem.get(_MASK_NAME.sub("", stem), [])
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
        objects.append(_object(pixels > 0, class_name, path.name))
    if len(sizes) > 1:
        raise LabelsError(f"{paths[0].parent.name}: the masks have different sizes")
    return Labels(objects, sizes.pop())


def read_id_mask(path: Path, class_name: str) -> Labels:
    """Read a mask with a number for each object.

    Raises:
        LabelsError: the file cannot be read, or has no such numbers.
    """
    pixels = read_pixels(path)
    objects = [_object(pixels == number, class_name, f"{path.name}, {number}") for number in _numbers(pixels, path)]
    return Labels(objects, (pixels.shape[1], pixels.shape[0]))


def read_class_mask(path: Path, classes: Mapping[int, str]) -> Labels:
    """Read a mask with label id * 1000 + instance for each object; the label id alone marks a group.

    Raises:
        LabelsError: the file cannot be read, or has no such numbers.
    """
    pixels = read_pixels(path)
    objects, findings = [], []
    for number in _numbers(pixels, path):
        label = number // 1000 if number >= 1000 else number
        if label in classes:
            labeled = _object(pixels == number, classes[label], f"{path.name}, {number}")
            objects.append(labeled._replace(iscrowd=int(number < 1000)))
        elif number >= 1000:
            findings.append(Finding(Defect.OTHER_CLASS, f"{path.name}, {number}: no class has the label id {label}"))
    return Labels(objects, (pixels.shape[1], pixels.shape[0]), findings)


def _read_cityscapes(layout: Layout, classes: Mapping[int, str]) -> LabeledData:
    masks = [image for image in layout.images if image.endswith("_instanceIds.png")]
    images = {
        re.sub(r"_leftImg8bit$", "", PurePosixPath(image).stem): image
        for image in layout.images
        if PurePosixPath(image).stem.endswith("_leftImg8bit")
    }
    entries, alone = {}, []
    for mask in masks:
        stem = re.sub(r"_(gtFine|gtCoarse)_instanceIds\.png$", "", PurePosixPath(mask).name)
        if stem in images:
            entries[images[stem]] = partial(read_class_mask, layout.root / mask, classes)
        else:
            alone.append(mask)
    without = [image for image in images.values() if image not in entries]
    splits, notes = _splits(layout, entries, without, alone)
    return LabeledData("Cityscapes' instanceIds", splits, list(dict.fromkeys(classes.values())), notes)


def _splits(
    layout: Layout, entries: dict[str, partial[Labels]], without: Sequence[str], alone: Sequence[str]
) -> tuple[list[LabeledSplit], tuple[str, ...]]:
    """Return the splits; images without a mask, and masks without an image, count as lost."""
    by_split: defaultdict[str, list[LabeledImage]] = defaultdict(list)
    for image, read in sorted(entries.items()):
        by_split[split_of_folder(image)].append(LabeledImage(image, read))
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


def read_pixels(path: Path, *, is_binary: bool = False) -> np.ndarray:
    """Return the numbers of a mask [h, w]; indices of a palette, and one of equal color channels."""
    try:
        with Image.open(path) as image:
            opaque = image.convert(image.mode[:-1]) if image.mode in ("RGBA", "LA") else image
            pixels = np.asarray(opaque)
    except FileNotFoundError:
        raise LabelsError(f"{path.name} was removed") from None
    except Exception as error:  # Pillow raises anything on damaged files
        raise LabelsError(f"{path.name} cannot be read ({' '.join(str(error).split())})") from error
    if pixels.ndim == 3:
        if is_binary:
            return pixels.max(axis=2)
        if (pixels != pixels[..., :1]).any():
            raise LabelsError(f"{path.name} has colors instead of a number for each object")
        pixels = pixels[..., 0]
    if pixels.dtype == np.bool_:
        return pixels * np.uint8(255)
    if pixels.dtype.kind not in "iu":
        raise LabelsError(f"{path.name} has floating-point pixels instead of a number for each object")
    return pixels


def _numbers(pixels: np.ndarray, path: Path) -> list[int]:
    background = {0, _VOC_BORDER} if path.parent.name.lower() == _VOC_FOLDER else {0}
    numbers = [number for number in np.unique(pixels).tolist() if number not in background]
    if len(numbers) > _MAX_IDS:
        raise LabelsError(f"{path.name} has {len(numbers)} different numbers, it is no mask")
    return numbers


def _object(mask: np.ndarray, class_name: str, place: str) -> LabeledObject:
    height, width = mask.shape
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not rows.size:
        return LabeledObject(class_name, place=f"{place}: empty", lost=Defect.EMPTY_MASK)
    top, bottom, left, right = rows[0], rows[-1] + 1, columns[0], columns[-1] + 1
    rle = encode_crop(mask[top:bottom, left:right], int(top), int(left), height, width)
    edges = (float(left), float(top), float(right), float(bottom))
    return LabeledObject(class_name, edges, rle, place=place)


def _refuse_semantic(layout: Layout, masks: Sequence[str]) -> None:
    """Refuse masks that do not tell objects apart: black and white throughout, or with a list of their classes."""
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
            if "colors" in str(error):
                raise InputError(f"{layout.path}: {error}; store one channel with 1, 2, 3, ...") from None
    if highest in ({255}, {65535}):
        raise InputError(
            f"{layout.path}: the masks are black and white (first: {masks[0]}), so they do not tell objects apart; "
            "give each object a number 1, 2, 3, ... or a file of its own"
        )
