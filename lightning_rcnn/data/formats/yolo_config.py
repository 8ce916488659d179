"""Read the files that name the classes and splits of a YOLO data set."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

import yaml

from lightning_rcnn.data.formats.layout import Layout, read_text
from lightning_rcnn.data.formats.splits import in_order, split_of
from lightning_rcnn.data.formats.yolo_pose import YAML_NULLS, Pose, read_pose
from lightning_rcnn.errors import InputError
from lightning_rcnn.plural import plural

CLASS_FILES = ("classes.txt", "obj.names", "predefined_classes.txt", "labels.txt", "class_names.txt", "_darknet.labels")
"""Names of files with one class name a line."""
_YAML = (".yaml", ".yml")


class YoloConfig(NamedTuple):
    """The file that names the classes, and perhaps the splits.

    Attributes:
        name: path of the file relative to the data set.
        names: number of a class -> its name; empty if the file names none.
        splits: split -> entries as written: folders, or text files with a path a line; empty if it names none.
        base: folder to which they are relative.
        pose: keypoints behind each box; None if there are none.
        task: stated task, such as "obb"; "" if none is.
    """

    name: str
    names: dict[int, str]
    splits: dict[str, list[str]]
    base: Path
    pose: Pose | None = None
    task: str = ""


def find_config(layout: Layout) -> YoloConfig | None:
    """Return the file nearest to the root that names classes: a YAML file, Darknet's, or a list; None if there is none.

    Raises:
        InputError: several YAML files, or the file contradicts itself.
    """
    configs = [file for file in layout.with_suffix(*_YAML) if is_yolo_yaml(layout, file)]
    depth = min((file.count("/") for file in configs), default=0)
    nearest = [file for file in configs if file.count("/") == depth]
    if len(nearest) > 1:
        commands = " or ".join(f"`lightning-rcnn pack yolo {layout.root / file}`" for file in nearest)
        raise InputError(f"{layout.path}: several data sets: {', '.join(nearest)}; choose one with {commands}")
    if nearest:
        return _read_yaml(layout, nearest[0])
    for file in layout.with_suffix(".data"):
        return _read_darknet(layout, file)
    lists = [file for file in layout.all_files if is_class_list(file)]
    for file in sorted(lists, key=lambda file: (file.count("/"), _rank(file))):
        return YoloConfig(file, _numbered(_lines(layout.root / file)), {}, layout.root)
    return None


def is_yolo_yaml(layout: Layout, file: str) -> bool:
    """Return whether a YAML file names classes, or splits, as YOLO's do."""
    keys = set(re.findall(r"^(\w+)\s*:", layout.head(file), re.MULTILINE))
    return bool({"names", "nc"} & keys) and bool({"train", "val", "test", "path", "names"} & keys)


def is_class_list(file: str) -> bool:
    """Return whether a file is named like a list of classes."""
    name = file.rpartition("/")[2].lower()
    return name in CLASS_FILES or (name.endswith(".names") and name != ".names")


def find_entry(config: YoloConfig, entry: str) -> Path | None:
    """Return the folder or list that an entry of a split means; None if it is missing.

    Roboflow writes `../train/images` for a folder beside the YAML file, and others the path on their own machine: where
    the entry itself does not exist, its longest end that exists beside the file counts.
    """
    parts = [part for part in entry.replace("\\", "/").split("/") if part not in ("", ".")]
    inner = [part for part in parts if part != ".."]
    candidates = [config.base.joinpath(*inner[start:]) for start in range(len(inner))] or [config.base]
    if ".." not in parts or not entry.startswith(".."):
        candidates.insert(0, config.base / entry)
    else:
        candidates.append(config.base / entry)
    return next((path for path in candidates if path.exists()), None)


def _read_yaml(layout: Layout, file: str) -> YoloConfig:
    path = layout.root / file
    try:
        content = yaml.safe_load(read_text(path))
    except yaml.YAMLError as error:
        raise InputError(f"{path}: malformed YAML ({' '.join(str(error).split())}); correct it") from error
    except RecursionError as error:
        raise InputError(f"{path}: malformed YAML (nested too deeply); correct it") from error
    if not isinstance(content, dict):
        raise InputError(
            f"{path}: not the YAML file of a YOLO data set, it has no `names`; give one with train and names"
        )
    written = _as_written(path)
    names = _names(written.get("names"), path)
    count = content.get("nc")
    if isinstance(count, int) and names and count != len(names):
        raise InputError(f"{path}: nc is {count}, but names has {plural(len(names), 'class')}; correct it")
    splits = _splits(content, path)
    stated = content.get("path")
    bases = [path.parent / stated, path.parent / Path(stated).name] if isinstance(stated, str) and stated else []
    base = next((base for base in bases if base.is_dir()), path.parent)
    pose = read_pose(content, written.get("kpt_names"), path)
    return YoloConfig(file, names, splits, base, pose, str(content.get("task") or ""))


def _as_written(path: Path) -> dict[str, Any]:
    """Return the content of a YAML file with all values as text: unquoted, the classes yes and no become booleans."""
    content: dict[str, Any] = yaml.load(read_text(path), Loader=yaml.BaseLoader)
    return content


def _names(value: Any, path: Path) -> dict[int, str]:
    """Return the classes in a list, or in a dictionary by number."""
    if value in YAML_NULLS:
        return {}
    items = (
        list(enumerate(value)) if isinstance(value, list) else list(value.items()) if isinstance(value, dict) else []
    )
    try:
        names = {int(number): str(name).strip() for number, name in items if not isinstance(name, list | dict)}
    except ValueError:
        names = {}
    if not names or len(names) < len(items) or not all(names.values()):
        raise InputError(f"{path}: names must be a list of class names, or numbers with class names; correct it")
    return names


def _splits(values: Mapping[Any, Any], path: Path) -> dict[str, list[str]]:
    """Return split -> entries of the keys that are called like a split, as CVAT's `Validation` is."""
    named = [(split_of(f"{key}/-"), key) for key, value in values.items() if _may_be_split(str(key), value)]
    splits: dict[str, list[str]] = {}
    for split in in_order(split for split, _ in named if split):
        entries = [each for name, key in named if name == split for each in _entries(values[key], path, key)]
        if entries:
            splits[split] = list(dict.fromkeys(entries))
    return splits


def _may_be_split(key: str, value: Any) -> bool:
    """Return whether a key can be a split: always if it is Ultralytics', others if they lead to something."""
    return key in ("train", "val", "test") or (key.isalpha() and isinstance(value, str | list))


def _entries(value: Any, path: Path, split: str) -> list[str]:
    entries = value if isinstance(value, list) else [value] if value else []
    if not all(isinstance(entry, str) for entry in entries):
        raise InputError(f"{path}: {split} must be a folder, a text file, or a list of them; correct it")
    return entries


def _read_darknet(layout: Layout, file: str) -> YoloConfig:
    path = layout.root / file
    pairs = [line.partition("=") for line in _lines(path) if "=" in line]
    values = {key.strip(): value.strip() for key, _, value in pairs}
    config = YoloConfig(file, {}, {}, path.parent)
    listed = find_entry(config, values.get("names", "obj.names"))
    names = _numbered(_lines(listed)) if listed is not None and listed.is_file() else {}
    return config._replace(names=names, splits=_splits(values, path))


def _lines(path: Path) -> list[str]:
    lines = [line.strip() for line in read_text(path).splitlines()]
    while lines and not lines[-1]:
        lines.pop()
    return lines


def _numbered(lines: Sequence[str]) -> dict[int, str]:
    return {number: name for number, name in enumerate(lines) if name}


def _rank(file: str) -> int:
    name = PurePosixPath(file).name.lower()
    return CLASS_FILES.index(name) if name in CLASS_FILES else len(CLASS_FILES)
