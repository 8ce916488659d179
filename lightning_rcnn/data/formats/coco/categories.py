"""Number the categories of a file as labels 1..K."""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from lightning_rcnn.data.defects import Defect, DefectLog, Finding
from lightning_rcnn.data.formats.coco.ids import IdTable
from lightning_rcnn.data.formats.coco.json_files import Entry
from lightning_rcnn.data.formats.coco.scalars import whole_number
from lightning_rcnn.data.index import FREQUENCIES, Category, common_frequencies
from lightning_rcnn.errors import InputError
from lightning_rcnn.plural import plural
from lightning_rcnn.suggestions import did_you_mean


class Classes(NamedTuple):
    """The classes of a file, and the labels of its category ids.

    Attributes:
        categories: classes in the order of their labels 1..K.
        labels: id in the file -> label; None for a category that was not requested.
        ids: category ids with their spellings.
    """

    categories: list[Category]
    labels: dict[int, int | None]
    ids: IdTable

    def label_of(self, category_id: Any) -> int | None:
        """Return the label of the `category_id` of an annotation or result; None if unknown or not requested."""
        known = self.ids.find(category_id)
        return None if known is None else self.labels.get(known)

    def leaves_out(self, category_id: Any) -> bool:
        """Return whether it is the id of a category that was not requested."""
        known = self.ids.find(category_id)
        return known in self.labels and self.labels[known] is None


def read_classes(
    entries: list[Entry], used: Collection[Any], path: Path, log: DefectLog, wanted: Sequence[str] | None
) -> Classes:
    """Number the categories of a file.

    Args:
        entries: list `categories` of the file.
        used: every `category_id` of the annotations, as written.
        path: path of the file, for messages.
        log: log of defects, which is extended.
        wanted: names of the classes; the i-th gets label and id i. By default all, in the order of their ids.

    Raises:
        InputError: there is no category, one lacks its id or name, or two contradict each other.
    """
    ids = IdTable(entry.get("id") for entry in entries)
    names = _names_by_id(entries, ids, path)
    if ids.numbered:
        log.add([Finding(Defect.TEXT_IDS, f"category {ids.numbered[0]!r}: now {ids.find(ids.numbered[0])}")])
    for group in _group_categories(entries, ids, names, {ids.find(value) for value in used}):
        log.add([Finding(Defect.GROUP_CATEGORY, f"{names.pop(group)}, id {group}")])
    if wanted is not None:
        return _choose(wanted, names, ids, path, log, _frequencies(entries, ids))
    names = _unique(names, log)
    frequencies = _frequencies(entries, ids)
    categories = [Category(label, names[key], key, frequencies[key]) for label, key in enumerate(names, start=1)]
    if any(category.id != category.label for category in categories):
        span = f"{plural(len(categories), 'id')}, {categories[0].id} to {categories[-1].id}"
        log.add([Finding(Defect.CATEGORY_IDS, span)])
    return Classes(categories, {category.id: category.label for category in categories}, ids)


def _names_by_id(entries: list[Entry], ids: IdTable, path: Path) -> dict[int, str]:
    """Return id -> name, in the order of the ids."""
    names: dict[int, str] = {}
    for entry in entries:
        category_id, name = ids.find(entry.get("id")), _name(entry.get("name"))
        if category_id is None or name is None:
            raise InputError(
                f"{path}: category {entry} has no id or no name; give it a number or text as id, and a name"
            )
        if names.setdefault(category_id, name) != name:
            raise InputError(
                f"{path}: category id {category_id} is both {names[category_id]!r} and {name!r}; correct it"
            )
    if not names:
        raise InputError(f"{path}: the list of categories is empty; add the classes")
    return dict(sorted(names.items()))


def _frequencies(entries: list[Entry], ids: IdTable) -> dict[int, str]:
    """Return id -> LVIS's group of frequency; empty where a category states none."""
    stated = ((ids.find(entry.get("id")), entry.get("frequency")) for entry in entries)
    return {key: group if group in FREQUENCIES else "" for key, group in stated if key is not None}


def _name(value: Any) -> str | None:
    """Return a name, which may also be a number; None if it is empty or something else."""
    text = value if isinstance(value, str) else str(whole) if (whole := whole_number(value)) is not None else ""
    return text if text.strip() else None


def _group_categories(
    entries: list[Entry], ids: IdTable, names: dict[int, str], used: Collection[int | None]
) -> list[int]:
    """Return the ids of categories that only group others, like the one with id 0 in files from Roboflow.

    A group has no annotations and no supercategory. In addition, it is the supercategory of all others, or its id is 0
    and another category has its name.
    """
    parents = {ids.find(entry.get("id")): str(entry.get("supercategory") or "none") for entry in entries}
    groups = []
    for category_id, name in names.items():
        others = [other for other in names if other != category_id]
        is_parent_of_all = all(parents[other] == name for other in others)
        is_namesake = category_id == 0 and any(names[other] == name for other in others)
        has_no_parent = parents[category_id].strip().lower() == "none"
        if others and category_id not in used and has_no_parent and (is_parent_of_all or is_namesake):
            groups.append(category_id)
    return groups


def _unique(names: dict[int, str], log: DefectLog) -> dict[int, str]:
    """Add the id to each name that an earlier category has."""
    counts: Counter[str] = Counter()
    unique = {}
    for category_id, name in names.items():
        counts[name] += 1
        if counts[name] > 1:
            log.add([Finding(Defect.DUPLICATE_CATEGORY_NAME, f"{name}, id {category_id}")])
        unique[category_id] = name if counts[name] == 1 else f"{name} ({category_id})"
    return unique


def _choose(
    wanted: Sequence[str],
    names: dict[int, str],
    ids: IdTable,
    path: Path,
    log: DefectLog,
    frequencies: Mapping[int, str],
) -> Classes:
    """Return the classes that `wanted` names; categories with the same name are one class."""
    if len(set(wanted)) < len(wanted):
        raise InputError(f"--classes {', '.join(wanted)}: a name occurs twice; give each name once")
    present = set(names.values())
    for name in wanted:
        hint = did_you_mean(name, present - set(wanted))
        if name not in present and (hint or not present & set(wanted)):
            raise InputError(f"--classes: {path} has no category {name!r}{hint or f'; it has {_some(present)}'}")
        if name not in present:
            log.add([Finding(Defect.ABSENT_CLASS, name)])
    labels = {name: label for label, name in enumerate(wanted, start=1)}
    groups = common_frequencies((name, frequencies[category_id]) for category_id, name in names.items())
    categories = [Category(label, name, label, groups.get(name, "")) for name, label in labels.items()]
    return Classes(categories, {category_id: labels.get(name) for category_id, name in names.items()}, ids)


def _some(names: Collection[str]) -> str:
    return ", ".join(sorted(names)[:5]) + (", ..." if len(names) > 5 else "")
