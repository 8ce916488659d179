"""Read YOLO data sets: a text file per image, with a line `class x y width height` or `class x y x y ...` an object.

Coordinates are shares of the image's size; x and y of a box are its center. `yolo_config.py` reads the files that name
classes and splits: Ultralytics' and Roboflow's YAML, Darknet's `obj.data` (also CVAT's), LabelImg's `classes.txt`;
`yolo_pose.py` the keypoints behind a box.

Source: https://docs.ultralytics.com/datasets/ and https://github.com/AlexeyAB/darknet
"""

import os
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from math import isfinite
from pathlib import Path, PurePosixPath
from typing import Literal

from lightning_rcnn.data.defects import Defect
from lightning_rcnn.data.folder_listing import list_files
from lightning_rcnn.data.formats.labeled import (
    LabeledData,
    LabeledImage,
    LabeledObject,
    LabeledSplit,
    Labels,
    LabelsError,
)
from lightning_rcnn.data.formats.layout import Layout, read_text
from lightning_rcnn.data.formats.splits import in_order, split_of_folder
from lightning_rcnn.data.formats.yolo_config import CLASS_FILES, YoloConfig, find_config, find_entry, is_class_list
from lightning_rcnn.data.formats.yolo_oriented import refuse_dota, refuse_oriented
from lightning_rcnn.data.formats.yolo_pose import Pose, read_points
from lightning_rcnn.data.image_formats import images_among
from lightning_rcnn.data.text_encoding import UnreadableTextError, decode_text
from lightning_rcnn.errors import InputError
from lightning_rcnn.plural import plural

Quadrilaterals = Literal["refuse", "polygons"]


def read_yolo(
    layout: Layout, class_names: Sequence[str] = (), quadrilaterals: Quadrilaterals = "refuse"
) -> LabeledData:
    """List a YOLO data set.

    Args:
        layout: folder of the set, or its YAML file.
        class_names: names of the classes 0, 1, ... of the label files; by default those of the file that lists them.
        quadrilaterals: whether lines of a class and four points are oriented boxes, which are refused, or polygons.

    Raises:
        InputError: no file lists the classes, there are no images or labels, or the boxes are oriented.
    """
    config = find_config(layout)
    names = dict(enumerate(class_names)) or (config.names if config else {})
    if not names:
        where = layout.root / config.name if config else layout.path
        raise InputError(
            f"{where}: YOLO's labels have numbers for classes, and no file names them; add `names` to data.yaml or "
            f"{' or '.join(CLASS_FILES[:2])}, or name them in their order, as in `lightning-rcnn pack yolo "
            f"{layout.path} --class_names cat,dog`"
        )
    images, notes = _images_by_split(layout, config)
    labels = _pair(layout, [name for listed in images.values() for name in listed])
    if not labels:
        refuse_dota(layout)
        raise InputError(
            f"{layout.path}: no image has a label file; they are named like the images, and are in a folder `labels` "
            "beside `images`, or beside the images"
        )
    pose = config.pose if config else None
    if quadrilaterals == "refuse" and pose is None:
        refuse_oriented(layout, sorted(set(labels.values())), config.task if config else "")
    read = partial(_labels, layout.root, names, pose)
    entries = {
        split: [LabeledImage(name, read(labels.get(name))) for name in listed] for split, listed in images.items()
    }
    for label in _orphans(layout, set(labels.values())):
        split = split_of_folder(label) if split_of_folder(label) in entries else next(iter(entries))
        entries[split].append(LabeledImage(f"{label} (its image)", read(label)))
    splits = [LabeledSplit(split, layout.root, listed, lists_all=True) for split, listed in entries.items()]
    if twice := [name for name, count in Counter(names.values()).items() if count > 1]:
        notes = (*notes, f"names has {', '.join(twice)} more than once: one class")
    return LabeledData(
        config.name if config else "label files",
        splits,
        list(dict.fromkeys(names[key] for key in sorted(names))),
        notes if pose is None else (*notes, *pose.notes),
        None if pose is None else pose.skeleton,
    )


def read_labels(path: Path, names: Mapping[int, str], pose: Pose | None = None) -> Labels:
    """Read one label file.

    Args:
        path: path of the file.
        names: number of a class -> its name.
        pose: keypoints behind the box in each line; None if there are none.

    Raises:
        LabelsError: it cannot be read.
    """
    try:
        text = decode_text(path.read_bytes())
    except OSError as error:
        raise LabelsError(f"{path.name}: {error.strerror or error}") from error
    except UnreadableTextError as error:
        raise LabelsError(f"{path.name} {error}") from error
    lines = [(number, line.split()) for number, line in enumerate(text.splitlines(), start=1)]
    return Labels([read_row(parts, names, pose, f"{path.name}, line {number}") for number, parts in lines if parts])


def read_row(parts: list[str], names: Mapping[int, str], pose: Pose | None, place: str) -> LabeledObject:
    """Read the columns of one object.

    Args:
        parts: number of the class, and the numbers of a box, of a box with keypoints, or of a polygon.
        names: number of a class -> its name.
        pose: keypoints behind the box; None if there are none.
        place: location, for messages.
    """
    try:
        number, values = float(parts[0]), [float(part) for part in parts[1:]]
    except ValueError:
        return LabeledObject(None, place=f"{place}: not numbers", lost=Defect.MALFORMED_OBJECT)
    is_polygon = len(values) >= 6 and len(values) % 2 == 0 and pose is None
    has_points = pose is not None and len(values) == 4 + pose.num_values
    if not (len(values) == 4 or is_polygon or has_points) or not number.is_integer():
        further = "a polygon an odd number from 7" if pose is None else f"with keypoints {5 + pose.num_values}"
        text = f"{place}: {plural(len(parts), 'column')}, a box has 5, {further}"
        return LabeledObject(None, place=text, lost=Defect.MALFORMED_OBJECT)
    name = names.get(int(number))
    if name is None:
        text = f"{place}: class {int(number)}, the classes are 0 to {max(names)}"
        return LabeledObject(None, place=text, lost=Defect.UNKNOWN_CLASS)
    if is_polygon:
        polygon = values[:-2] if values[:2] == values[-2:] else values
        if not all(map(isfinite, polygon)):
            return LabeledObject(name, None, None, place=place)
        x, y = polygon[0::2], polygon[1::2]
        return LabeledObject(name, (min(x), min(y), max(x), max(y)), [polygon], is_relative=True, place=place)
    x_center, y_center, width, height = values[:4]
    edges = (x_center - width / 2, y_center - height / 2, x_center + width / 2, y_center + height / 2)
    points = () if pose is None else read_points(values[4:], pose)
    return LabeledObject(name, edges, is_relative=True, place=place, keypoints=points)


def is_yolo_line(line: str) -> bool:
    """Return whether a line looks like one of a label file: the number of a class, and at least four shares."""
    parts = line.split()
    try:
        return (
            len(parts) >= 5
            and float(parts[0]) >= 0
            and float(parts[0]).is_integer()
            and all(-0.5 <= float(part) <= 1.5 for part in parts[1:5])
        )
    except ValueError:
        return False


def _labels(
    root: Path, names: Mapping[int, str], pose: Pose | None, label: str | None
) -> Labels | Callable[[], Labels]:
    return Labels() if label is None else partial(read_labels, root / label, names, pose)


def _images_by_split(layout: Layout, config: YoloConfig | None) -> tuple[dict[str, list[str]], tuple[str, ...]]:
    """Return the names of the images of each split, relative to the root or absolute; and remarks."""
    if config is None or not config.splits:
        return _images_by_folder(layout), ()
    images: dict[str, list[str]] = {}
    notes = []
    for split, entries in config.splits.items():
        found = [(entry, find_entry(config, entry)) for entry in entries]
        notes += [f"{split}: no {entry}, left out" for entry, path in found if path is None]
        names = [name for _, path in found if path is not None for name in _images_of(path, config, layout.root)]
        if names:
            images[split] = list(dict.fromkeys(names))
        elif not any(path is None for _, path in found):
            notes.append(f"{split}: no images, left out")
    if not images:
        raise InputError(
            f"{layout.root / config.name}: none of its splits is there ({'; '.join(notes)}); correct `path`, or put "
            "the folders beside it"
        )
    return images, tuple(notes)


def _images_by_folder(layout: Layout) -> dict[str, list[str]]:
    """Return the images by the split that their folders name; only those in folders `images` where there are any."""
    inside = [name for name in layout.images if "images" in name.lower().split("/")[:-1]]
    by_split: defaultdict[str, list[str]] = defaultdict(list)
    for name in inside or layout.images:
        by_split[split_of_folder(name)].append(name)
    if not by_split:
        raise InputError(f"{layout.root}: no images; give the folder that holds images and labels")
    if len(by_split) > 1 and "" in by_split:
        by_split["other"] = by_split.pop("")
    return {split: by_split[split] for split in in_order(by_split)}


def _images_of(path: Path, config: YoloConfig, root: Path) -> list[str]:
    """Return the images in a folder, or those that a list names, relative to the root where they are inside."""
    if path.is_dir():
        return [_relative(path / file, root) for file in images_among(list_files(path))]
    lines = [line.strip() for line in read_text(path).splitlines()]
    return [_listed_name(line, (config.base, path.parent, root), root) for line in lines if line]


def _listed_name(line: str, bases: Sequence[Path], root: Path) -> str:
    """Return the name of an image in a list; as written if it is not found inside the data set."""
    if os.path.isabs(line) and os.path.isfile(line):
        return _relative(Path(line), root)
    parts = PurePosixPath(line.replace("\\", "/")).parts
    for base in bases:
        for start in range(len(parts)):
            path = base.joinpath(*parts[start:])
            inside = _relative(path, root)
            if path.is_file() and not os.path.isabs(inside) and ".." not in parts[start:]:
                return inside
    return line


def _relative(path: Path, root: Path) -> str:
    absolute, base = os.path.abspath(path), os.path.join(os.path.abspath(root), "")
    return absolute.removeprefix(base).replace(os.sep, "/") if absolute.startswith(base) else absolute


def _pair(layout: Layout, images: Iterable[str]) -> dict[str, str]:
    """Map images to their label files, for those that have one."""
    texts = set(layout.with_suffix(".txt", among=layout.all_files))
    texts -= {file for file in texts if is_class_list(file)}
    listed = list(images)
    pairs = {}
    for name in listed:
        for label in _label_names(name):
            if label in texts or (os.path.isabs(label) and os.path.isfile(label)):
                pairs[name] = label
                break
    if pairs:
        return pairs
    by_stem: defaultdict[tuple[str, str], list[str]] = defaultdict(list)
    for text in texts:
        if any(map(is_yolo_line, layout.lines(text, 1))):
            by_stem[split_of_folder(text), PurePosixPath(text).stem].append(text)
    found = {name: by_stem.get((split_of_folder(name), PurePosixPath(name).stem), []) for name in listed}
    return {name: labels[0] for name, labels in found.items() if len(labels) == 1}


def _label_names(image: str) -> list[str]:
    """Return the paths that the label file of an image may have, the usual one first."""
    path = PurePosixPath(image).with_suffix(".txt")
    parts = path.parts
    last = max(
        (index for index, part in enumerate(parts[:-1]) if part.lower() in ("images", "jpegimages")), default=None
    )
    if last is None:
        return [str(path), str(path.parent / "labels" / path.name)]
    return [str(PurePosixPath(*parts[:last], "labels", *parts[last + 1 :])), str(path)]


def _orphans(layout: Layout, used: set[str]) -> list[str]:
    """Return the label files without an image, in the folders of the others."""
    folders = {label.rpartition("/")[0] for label in used}
    texts = [file for file in layout.with_suffix(".txt", among=layout.all_files) if file not in used]
    inside = [file for file in texts if file.rpartition("/")[0] in folders and not is_class_list(file)]
    return [file for file in inside if any(map(is_yolo_line, layout.lines(file, 1)))]
