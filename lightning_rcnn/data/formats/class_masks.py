"""Read masks whose numbers say the class and the object: Cityscapes', KITTI's and Mapillary Vistas'.

| data set | files | number |
|---|---|---|
| Cityscapes | `leftImg8bit/.../X_leftImg8bit.png` with `gtFine/.../X_gtFine_instanceIds.png` | class * 1000 + object |
| | or with `X_gtFine_polygons.json`, which are painted: see `cityscapes_polygons.py` | |
| KITTI | `training/image_2/X.png` with `training/instance/X.png`, beside `semantic` | class * 256 + object |
| Mapillary Vistas | `training/images/X.jpg` with `training/instances/X.png`, and `config.json` | class * 256 + object |

Source: https://github.com/mcordts/cityscapesScripts, https://www.cvlibs.net/datasets/kitti/eval_instance_seg.php and
https://www.mapillary.com/dataset/vistas
"""

import posixpath
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np

from lightning_rcnn.data.defects import Defect, Finding
from lightning_rcnn.data.formats.labeled import Labels
from lightning_rcnn.data.formats.layout import Layout, read_json
from lightning_rcnn.data.formats.mask_pixels import numbers_of, object_of, read_pixels
from lightning_rcnn.plural import plural

CLASS_FACTOR = 1000
"""Of the class in most masks that have class and object in a number."""
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
"""Label ids of the classes of Cityscapes' instance benchmark, and of KITTI's."""
_CITYSCAPES_KINDS = (
    "gtFine_instanceIds.png",
    "gtFine_polygons.json",
    "gtCoarse_instanceIds.png",
    "gtCoarse_polygons.json",
)
"""Ends of the names of annotations of an image, the best first."""


class Numbering(NamedTuple):
    """What the numbers in masks say.

    Attributes:
        names: label id -> name of the class.
        factor: of the label id; the number of the object is added.
        groups: how a group of objects is marked: by its label id alone, or by the object 0; or there are none, and 0 is
            the first object of the label id 0 instead of the background.
    """

    names: Mapping[int, str]
    factor: int = CLASS_FACTOR
    groups: Literal["label", "zero", "none"] = "label"


class ClassMasks(NamedTuple):
    """A data set of such masks.

    Attributes:
        title: what it was taken for.
        masks: image -> its mask, or Cityscapes' polygons.
        without: images without a mask.
        alone: masks without an image.
        numbering: what the numbers say.
        notes: remarks for the user.
        rivals: second annotation, as good as the first -> image.
    """

    title: str
    masks: dict[str, str]
    without: list[str]
    alone: list[str]
    numbering: Numbering
    notes: tuple[str, ...] = ()
    rivals: Mapping[str, str] = {}


def find_class_masks(layout: Layout) -> ClassMasks | None:
    """Return the masks of a data set whose form is known; None for others."""
    return _cityscapes(layout) or _kitti(layout) or _mapillary(layout)


def read_class_mask(path: Path, numbering: Numbering) -> Labels:
    """Read a mask of one image.

    Raises:
        LabelsError: the file cannot be read, or has no such numbers.
    """
    return labels_of_numbers(read_pixels(path), path, numbering)


def labels_of_numbers(pixels: np.ndarray, path: Path, numbering: Numbering) -> Labels:
    """Return the objects of a mask of numbers [h, w].

    Raises:
        LabelsError: there are too many.
    """
    objects, findings = [], []
    background = () if numbering.groups == "none" else (0,)
    for number in numbers_of(pixels, path, background):
        label, own = divmod(number, numbering.factor)
        is_group = numbering.groups == "zero" and own == 0
        if numbering.groups == "label" and label == 0:
            label, is_group = number, True
        if label in numbering.names:
            labeled = object_of(pixels == number, numbering.names[label], f"{path.name}, {number}")
            objects.append(labeled._replace(iscrowd=int(is_group)))
        elif not is_group and numbering.groups != "none":  # without groups, most numbers are of road, sky and so on
            findings.append(Finding(Defect.OTHER_CLASS, f"{path.name}, {number}: no class has the label id {label}"))
    return Labels(objects, (pixels.shape[1], pixels.shape[0]), findings)


def _cityscapes(layout: Layout) -> ClassMasks | None:
    """Return the best annotation of each image; several as good ones are not guessed from."""
    by_kind = {kind: [file for file in layout.all_files if file.endswith(f"_{kind}")] for kind in _CITYSCAPES_KINDS}
    if not any(by_kind.values()):
        return None
    images = {
        posixpath.splitext(posixpath.basename(image))[0].removesuffix("_leftImg8bit"): image
        for image in layout.images
        if posixpath.splitext(image)[0].endswith("_leftImg8bit")
    }
    masks: dict[str, str] = {}
    kinds: dict[str, str] = {}
    alone, rivals, coarse = [], dict[str, str](), 0
    for kind, files in by_kind.items():
        for file in files:
            image = images.get(posixpath.basename(file).removesuffix(f"_{kind}"))
            if image is None:
                alone.append(file)
            elif kinds.get(image) == kind:
                rivals[file] = image
            elif image in masks:
                coarse += kind.startswith("gtCoarse") and kinds[image].startswith("gtFine")
            else:
                masks[image], kinds[image] = file, kind
    title = " and ".join(sorted({kind.partition("_")[2].partition(".")[0] for kind in kinds.values()}))
    without = [image for image in images.values() if image not in masks]
    notes = (f"{plural(coarse, 'file')} of gtCoarse, whose images have gtFine, left out",) if coarse else ()
    return ClassMasks(f"Cityscapes' {title}", masks, without, alone, Numbering(CITYSCAPES), notes, rivals)


def _kitti(layout: Layout) -> ClassMasks | None:
    masks = _in_folder(layout, "instance")
    if not masks or not _in_folder(layout, "semantic"):
        return None
    images = _in_folder(layout, "image_2")
    beside = {image.replace("/image_2/", "/instance/"): image for image in images}
    named = {mask: beside.get(mask) for mask in masks}
    return _paired("KITTI's instances", named, images, Numbering(CITYSCAPES, 256, "zero"))


def _mapillary(layout: Layout) -> ClassMasks | None:
    masks = _in_folder(layout, "instances")
    configs = [file for file in layout.all_files if re.fullmatch(r"(.*/)?config(_v\d\.\d)?\.json", file)]
    if not masks or not configs:
        return None
    names = _mapillary_names(layout, configs[-1])
    if not names:
        return None
    images = _in_folder(layout, "images")
    by_stem = {_key(image): image for image in images}
    named = {mask: by_stem.get(_key(mask)) for mask in masks}
    return _paired("Mapillary Vistas' instances", named, images, Numbering(names, 256, "none"))


def _mapillary_names(layout: Layout, config: str) -> dict[int, str]:
    """Return the label ids of the classes that have instances."""
    content = read_json(layout.root / config)
    labels = content.get("labels") if isinstance(content, dict) else None
    listed = enumerate(labels if isinstance(labels, list) else [])
    return {
        number: str(label["readable"])
        for number, label in listed
        if isinstance(label, dict) and label.get("instances") is True and isinstance(label.get("readable"), str)
    }


def _key(path: str) -> tuple[str, str]:
    """Return the first folder, which is the split's, and the name without suffix."""
    return path.partition("/")[0], posixpath.splitext(posixpath.basename(path))[0]


def _in_folder(layout: Layout, name: str) -> list[str]:
    """Return the images in folders of a name, directly."""
    return [image for image in layout.images if posixpath.basename(posixpath.dirname(image)) == name]


def _paired(title: str, named: Mapping[str, str | None], images: list[str], numbering: Numbering) -> ClassMasks:
    masks = {image: mask for mask, image in named.items() if image is not None}
    without = [image for image in images if image not in masks]
    return ClassMasks(title, masks, without, [mask for mask, image in named.items() if image is None], numbering)
