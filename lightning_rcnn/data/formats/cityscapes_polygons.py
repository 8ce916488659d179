"""Read Cityscapes' polygons, by painting them one over the other as its scripts paint `instanceIds`.

    {"imgHeight": 1024, "imgWidth": 2048, "objects": [{"label": "car", "polygon": [[12, 34], [56, 34], [56, 78]]}]}

Later polygons hide earlier ones, those of sky and road too. `cargroup` is a group of cars.

Source: https://github.com/mcordts/cityscapesScripts, `preparation/json2instanceImg.py` and `helpers/labels.py`
"""

from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from lightning_rcnn.data.defects import Defect
from lightning_rcnn.data.formats.class_masks import CLASS_FACTOR, Numbering, labels_of_numbers
from lightning_rcnn.data.formats.coco.scalars import flag, listed
from lightning_rcnn.data.formats.coco.sizes import stated_size
from lightning_rcnn.data.formats.labeled import LabeledObject, Labels, LabelsError
from lightning_rcnn.data.formats.layout import read_json
from lightning_rcnn.data.formats.shapes import malformed, points_of
from lightning_rcnn.errors import InputError

_MAX_PIXELS = 1 << 28
"""More than Pillow reads: bounds the memory of a damaged size."""
_LABELS = [
    "unlabeled",
    "ego vehicle",
    "rectification border",
    "out of roi",
    "static",
    "dynamic",
    "ground",
    "road",
    "sidewalk",
    "parking",
    "rail track",
    "building",
    "wall",
    "fence",
    "guard rail",
    "bridge",
    "tunnel",
    "pole",
    "polegroup",
    "traffic light",
    "traffic sign",
    "vegetation",
    "terrain",
    "sky",
    "person",
    "rider",
    "car",
    "truck",
    "bus",
    "caravan",
    "trailer",
    "train",
    "motorcycle",
    "bicycle",
]
"""Names of the label ids 0, 1, ..."""
_FIRST_WITH_INSTANCES = _LABELS.index("person")
_GROUP = "group"
_NOT_PAINTED = "license plate"
"""A label that hides nothing: its id is -1."""


def read_polygons(path: Path, numbering: Numbering) -> Labels:
    """Read the polygons of one image.

    Args:
        path: JSON file.
        numbering: names of the label ids that are objects.

    Raises:
        LabelsError: the file cannot be read, or states no size.
    """
    try:
        content = read_json(path)
    except InputError as error:
        raise LabelsError(str(error)) from error
    if not isinstance(content, dict):
        raise LabelsError(f"{path.name} is {type(content).__name__}, not a dictionary")
    width, height = stated_size(content.get("imgWidth"), content.get("imgHeight"))
    if not width or width * height > _MAX_PIXELS:
        raise LabelsError(f"{path.name}: imgWidth and imgHeight are no size of an image")
    canvas = Image.new("I", (width, height))
    painted: dict[int, str] = {}
    lost: list[LabeledObject] = []
    numbers: defaultdict[int, int] = defaultdict(int)
    for position, each in enumerate(listed(content.get("objects")), start=1):
        if isinstance(each, dict) and flag(each.get("deleted")):
            continue
        place = f"{path.name}, object {position}"
        label, polygon = _read_polygon(each)
        if label is None or polygon is None:
            lost.append(malformed(f"{place}: no label, or no polygon of 3 points"))
            continue
        if label == _NOT_PAINTED:
            continue
        number = _label_id(label)
        if number is None:
            lost.append(LabeledObject(None, place=f"{place}: {label}", lost=Defect.UNKNOWN_CLASS))
            number = 0
        elif number >= _FIRST_WITH_INSTANCES and label in _LABELS:
            numbers[number] += 1
            if numbers[number] > CLASS_FACTOR:
                raise LabelsError(f"{path.name} has more than {CLASS_FACTOR} objects of {label}")
            number = number * CLASS_FACTOR + numbers[number] - 1
            painted[number] = f"{place}: {label}"
        ImageDraw.Draw(canvas).polygon(polygon, fill=number)
    pixels = np.asarray(canvas)
    labels = labels_of_numbers(pixels, path, numbering)
    visible = set(np.unique(pixels).tolist())
    hidden = [
        LabeledObject(None, place=f"{place}, hidden by others", lost=Defect.EMPTY_MASK)
        for number, place in painted.items()
        if number not in visible and number // CLASS_FACTOR in numbering.names
    ]
    return labels._replace(objects=[*labels.objects, *lost, *hidden])


def _read_polygon(each: Any) -> tuple[str | None, list[float] | None]:
    """Return label and polygon [x, y, x, y, ...]; None for one that is not in the format."""
    label = each.get("label") if isinstance(each, dict) else None
    points = points_of(each.get("polygon")) if isinstance(each, dict) else None
    is_area = points is not None and len(points) >= 6 and bool(np.abs(points).max() < _MAX_PIXELS)
    return (label if isinstance(label, str) else None), (points if is_area else None)


def _label_id(label: str) -> int | None:
    """Return the id of a label, of the members for a group; None if it is unknown."""
    name = label if label in _LABELS else label.removesuffix(_GROUP)
    return _LABELS.index(name) if name in _LABELS else None
