"""Read Ultralytics' NDJSON: a line with the classes, then a line for each image.

    {"type": "dataset", "task": "detect", "class_names": {"0": "person", "1": "car"}}
    {"type": "image", "file": "a.jpg", "split": "train", "width": 640, "height": 480, "annotations": {"boxes": [...]}}

Annotations are the columns of YOLO's label files as lists of numbers: `boxes`, `segments` (polygons) or `pose`. Images
lie where Ultralytics puts them, in `images/SPLIT`, or beside the file.

Source: https://docs.ultralytics.com/datasets/detect/#ultralytics-ndjson-format
"""

import posixpath
from collections import defaultdict
from collections.abc import Mapping
from typing import Any

from lightning_rcnn.data.defects import DefectLog
from lightning_rcnn.data.formats.annotation_files import ImageNames
from lightning_rcnn.data.formats.coco.scalars import whole_number
from lightning_rcnn.data.formats.coco.sizes import stated_size
from lightning_rcnn.data.formats.json_lines import SUFFIXES, first_dictionary, numbered_dictionaries
from lightning_rcnn.data.formats.labeled import LabeledData, LabeledImage, LabeledSplit, Labels
from lightning_rcnn.data.formats.layout import Layout
from lightning_rcnn.data.formats.shapes import malformed
from lightning_rcnn.data.formats.splits import in_order, split_of
from lightning_rcnn.data.formats.yolo import read_row
from lightning_rcnn.data.formats.yolo_pose import Pose, read_pose
from lightning_rcnn.errors import InputError

_KINDS = ("pose", "segments", "boxes")
"""Keys of annotations, the most telling first."""


def is_ndjson(layout: Layout, file: str) -> bool:
    """Return whether a file begins with the line that describes a data set of Ultralytics."""
    content = first_dictionary(layout, file)
    return content is not None and content.get("type") == "dataset"


def read_ndjson(layout: Layout) -> LabeledData:
    """List a data set of Ultralytics' NDJSON.

    Raises:
        InputError: there is no such file or more than one, a line is malformed, it is of another task, or its images
            have to be downloaded first.
    """
    files = [file for file in layout.with_suffix(*SUFFIXES) if is_ndjson(layout, file)]
    if not files:
        raise InputError(f'{layout.path}: no NDJSON of Ultralytics, whose first line has "type": "dataset"')
    if len(files) > 1:
        commands = " or ".join(f"`lightning-rcnn pack ndjson {layout.root / file}`" for file in files)
        raise InputError(f"{layout.path}: several data sets: {', '.join(files)}; choose one with {commands}")
    path = layout.root / files[0]
    (_, header), *entries = numbered_dictionaries(path)
    names = _class_names(header, f"{path}, line 1")
    pose = read_pose(header, header.get("kpt_names"), path)
    image_names = ImageNames(layout, files[0])
    by_split: defaultdict[str, list[LabeledImage]] = defaultdict(list)
    for number, entry in entries:
        written = entry.get("file")
        if not isinstance(written, str) or not written:
            raise InputError(f'{path}, line {number}: names no image; add "file"')
        split = str(entry.get("split") or "")
        image = _find(layout, posixpath.dirname(files[0]), written, split) or image_names.find(written)
        labels = _labels(entry, names, pose, f"line {number}")
        by_split[split_of(f"{split}/-")].append(LabeledImage(image, labels, files[0]))
    if not by_split:
        raise InputError(f"{path}: describes no images; check that the file is complete")
    are_here = any(image.file_name in layout.image_set for images in by_split.values() for image in images)
    if not are_here and any(entry.get("url") for _, entry in entries):
        raise InputError(
            f"{path}: its images are not here, only their addresses; download each `url` as images/SPLIT/FILE beside it"
        )
    if len(by_split) > 1 and "" in by_split:
        by_split["other"] = by_split.pop("")
    splits = [LabeledSplit(split, layout.root, by_split[split], DefectLog(), True) for split in in_order(by_split)]
    notes, skeleton = ((), None) if pose is None else (pose.notes, pose.skeleton)
    return LabeledData(files[0], splits, list(dict.fromkeys(names[key] for key in sorted(names))), notes, skeleton)


def _class_names(header: Mapping[str, Any], where: str) -> dict[int, str]:
    """Return number of a class -> its name.

    Raises:
        InputError: the data set has another task, or no names.
    """
    task = header.get("task", "detect")
    if task == "obb":
        raise InputError(
            f"{where}: oriented boxes (YOLO OBB); detectors here have upright boxes, so yield the samples from Python "
            "with `pack_samples`"
        )
    if task not in ("detect", "segment", "pose"):
        raise InputError(f"{where}: has the task {task}; detectors need boxes, polygons or keypoints")
    stated = header.get("class_names")
    pairs = enumerate(stated) if isinstance(stated, list) else stated.items() if isinstance(stated, dict) else ()
    names = {number: str(name) for key, name in pairs if (number := whole_number(key)) is not None}
    if not names:
        raise InputError(f'{where}: names no classes; add "class_names", such as {{"0": "cat", "1": "dog"}}')
    return names


def _find(layout: Layout, folder: str, written: str, split: str) -> str | None:
    """Return the image in the folder of a split, relative to the data set; None if it is not there."""
    places = (f"images/{split}", f"{split}/images", split)
    paths = (posixpath.normpath(posixpath.join(folder, place, written)) for place in places)
    return next((path for path in paths if path in layout.image_set), None)


def _labels(entry: Mapping[str, Any], names: Mapping[int, str], pose: Pose | None, place: str) -> Labels:
    annotations = entry.get("annotations")
    stated = annotations if isinstance(annotations, dict) else {}
    kind = next((kind for kind in _KINDS if stated.get(kind)), "boxes")
    rows = stated.get(kind) or []
    objects = [
        read_row([str(value) for value in row], names, pose if kind == "pose" else None, f"{place}, object {number}")
        if isinstance(row, list) and row
        else malformed(f"{place}, object {number}: no list of numbers")
        for number, row in enumerate(rows if isinstance(rows, list) else [rows], start=1)
    ]
    return Labels(objects, stated_size(entry.get("width"), entry.get("height")))
