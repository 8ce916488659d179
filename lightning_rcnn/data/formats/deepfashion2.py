"""Read DeepFashion2: a JSON file for each image, with an entry for each item of clothing.

    train/annos/000001.json   train/image/000001.jpg

    {"source": "user", "pair_id": 1, "item1": {"category_name": "trousers", "category_id": 8, "bounding_box":
        [x1, y1, x2, y2], "segmentation": [[x, y, x, y, ...]], "landmarks": [x, y, visibility, ...]}, "item2": ...}

Landmarks, which differ from class to class, are left out.

Source: https://github.com/switchablenorms/DeepFashion2
"""

from functools import partial
from pathlib import Path
from typing import Any

from lightning_rcnn.data.defects import Defect
from lightning_rcnn.data.formats.coco.scalars import listed, whole_number
from lightning_rcnn.data.formats.coco.segmentations import read_segmentation
from lightning_rcnn.data.formats.image_json import read_image_files
from lightning_rcnn.data.formats.labeled import LabeledData, LabeledImage, LabeledObject, Labels, LabelsError
from lightning_rcnn.data.formats.layout import Layout, read_json
from lightning_rcnn.data.formats.line_files import images_of_texts
from lightning_rcnn.data.formats.shapes import box_from_corners, class_name_of, malformed
from lightning_rcnn.errors import InputError
from lightning_rcnn.plural import plural

_CLASSES = (
    "short sleeve top",
    "long sleeve top",
    "short sleeve outwear",
    "long sleeve outwear",
    "vest",
    "sling",
    "shorts",
    "trousers",
    "skirt",
    "short sleeve dress",
    "long sleeve dress",
    "vest dress",
    "sling dress",
)
"""Names of the category ids 1, 2, ..."""
_ITEM = "item"


def read_deepfashion2(layout: Layout) -> LabeledData:
    """List a data set of such files.

    Raises:
        InputError: there are none.
    """
    images = images_of_texts(layout.images, layout.with_suffix(".json"), "")
    splits, number = read_image_files(layout, partial(_read_file, layout, images))
    if not number:
        raise InputError(f"{layout.path}: no JSON file of DeepFashion2, with `source`, `pair_id` and `item1`")
    return LabeledData(plural(number, "JSON file"), splits, list(_CLASSES))


def is_deepfashion2(content: Any) -> bool:
    """Return whether parsed JSON is the file of an image in DeepFashion2's form."""
    return isinstance(content, dict) and {"source", "pair_id"} <= content.keys()


def _read_file(layout: Layout, images: dict[str, str | None], file: str, content: Any) -> LabeledImage | None:
    if not is_deepfashion2(content):
        return None
    # Hundreds of thousands of files: their outlines stay in them until they are packed.
    return LabeledImage(images[file] or f"{file} (its image)", partial(_read_labels, layout.root / file), file)


def _read_labels(path: Path) -> Labels:
    try:
        content = read_json(path)
    except InputError as error:
        raise LabelsError(str(error)) from error
    return Labels([_read_item(each, key) for key, each in content.items() if key.startswith(_ITEM)])


def _read_item(each: Any, place: str) -> LabeledObject:
    if not isinstance(each, dict):
        return malformed(f"{place}: not an object")
    number = whole_number(each.get("category_id"))
    name = class_name_of(each.get("category_name"))
    if name is None and number is not None and 1 <= number <= len(_CLASSES):
        name = _CLASSES[number - 1]
    labeled = box_from_corners(name, listed(each.get("bounding_box")), place)
    defects = (Defect.KEYPOINTS,) if each.get("landmarks") else ()
    return labeled._replace(segmentation=read_segmentation(each.get("segmentation")), defects=defects)
