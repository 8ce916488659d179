"""Ids in a results file: those of the annotations, or of an `images.json` beside the results.

`detect` numbers its input files and writes names and numbers to `images.json`; so does `predict`. If it lists the
images of the results, images are matched to the annotations by file name, and classes by name.
"""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lightning_rcnn.data.file_names import Fit, match_names, split_path
from lightning_rcnn.data.formats.coco.annotations import CocoAnnotations
from lightning_rcnn.data.formats.coco.ids import IdTable
from lightning_rcnn.data.formats.coco.json_files import load_json
from lightning_rcnn.errors import InputError
from lightning_rcnn.evaluation.coco_results import NAMES_FILE


@dataclass(frozen=True)
class ResultIds:
    """Mapping from the ids of results to those of the annotations.

    Attributes:
        image_table, category_table: spellings of the ids in the results.
        images: id in the results -> id in the annotations; images without annotations are absent.
        labels: id in the results -> label 1..K; classes that the annotations lack are absent.
        notes: sentences for the user about the mapping.
    """

    image_table: IdTable
    category_table: IdTable
    images: dict[int, int]
    labels: dict[int, int]
    notes: list[str] = field(default_factory=list)


def own_ids(coco: CocoAnnotations) -> ResultIds:
    """Return the identity mapping of the annotations' ids."""
    labels = {category_id: label for category_id, label in coco.classes.labels.items() if label is not None}
    return ResultIds(coco.image_ids, coco.classes.ids, {key: key for key in coco.images}, labels)


def result_ids(results: Path, image_ids: Iterable[Any], coco: CocoAnnotations, annotations: Path) -> ResultIds:
    """Map the ids of results to those of the annotations.

    Args:
        results: results file; an `images.json` beside it is read.
        image_ids: every `image_id` in the results.
        coco: annotations.
        annotations: file of the annotations.

    Raises:
        InputError: a file name matches several annotated images, or no name matches any.
    """
    names_file = results.with_name(NAMES_FILE)
    own = own_ids(coco)
    if not names_file.is_file() or names_file.samefile(annotations):
        return own
    content = load_json(names_file)
    entries = content.get("images") if isinstance(content, dict) else None
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        return own
    table = IdTable(entry.get("id") for entry in entries)
    strangers = sorted({repr(value) for value in image_ids if table.find(value) is None})
    if strangers:
        own.notes.append(f"{names_file} is not of these results, which name image {strangers[0]}; it is not used.")
        return own
    names = {
        found: str(entry.get("file_name")) for entry in entries if (found := table.find(entry.get("id"))) is not None
    }
    images = _match(names, {key: image.file_name for key, image in coco.images.items()}, names_file, annotations)
    category_table, labels, notes = _labels_by_name(content.get("categories"), own, coco, names_file)
    if any(key != images.get(key) for key in names):
        notes.insert(0, f"Images are matched by the file names in {names_file}: {len(images)} of {len(names)}.")
    return ResultIds(table, category_table, images, labels, own.notes + notes)


def _match(names: dict[int, str], known: dict[int, str], names_file: Path, annotations: Path) -> dict[int, int]:
    """Return id in `images.json` -> id in the annotations, by the rules of `data/file_names.py`."""
    if all(key in known and split_path(names[key])[-1:] == split_path(known[key])[-1:] for key in names):
        return {key: key for key in names}
    ids_by_name: defaultdict[str, list[int]] = defaultdict(list)
    for key, name in known.items():
        ids_by_name[name].append(key)
    matches_by_name = match_names(names.values(), frozenset(ids_by_name))
    matches: dict[int, int] = {}
    for key, name in names.items():
        match = matches_by_name[name]
        candidates = [] if match.file is None else ids_by_name[match.file]
        if key in candidates:
            matches[key] = key
        elif len(candidates) == 1:
            matches[key] = candidates[0]
        elif candidates or match.fit is Fit.AMBIGUOUS:
            hint = match.hint or f"; {match.file} is listed {len(candidates)} times"
            raise InputError(
                f"{names_file}: {name} is no single image of {annotations}{hint}; give longer paths there, or detect "
                "in one folder at a time"
            )
    first_of: dict[int, int] = {}
    for key, annotated in matches.items():
        if (first := first_of.setdefault(annotated, key)) != key:
            raise InputError(
                f"{names_file}: images {first} and {key}, {names[first]} and {names[key]}, are both "
                f"{known[annotated]} of {annotations}; detect in one folder at a time"
            )
    if names and not matches:
        raise InputError(
            f"{names_file}: none of its {len(names)} images, such as {next(iter(names.values()))}, is one of the "
            f"{len(known)} in {annotations}, such as {next(iter(known.values()), 'none')}; are they of the same set?"
        )
    return matches


def _labels_by_name(
    entries: Any, own: ResultIds, coco: CocoAnnotations, names_file: Path
) -> tuple[IdTable, dict[int, int], list[str]]:
    """Return spellings and labels of category ids, and notes on classes that the annotations lack."""
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        return own.category_table, own.labels, []
    table = IdTable(entry.get("id") for entry in entries)
    by_name = {category.name: category.label for category in coco.classes.categories}
    names = {key: entry.get("name") for entry in entries if (key := table.find(entry.get("id"))) is not None}
    labels = {key: by_name[name] for key, name in names.items() if name in by_name}
    if not labels:
        raise InputError(
            f"{names_file}: none of its classes ({_some(names.values())}) is one of the annotations' ({_some(by_name)})"
        )
    others = [name for key, name in names.items() if key not in labels]
    note = f"Classes that the annotations lack do not count: {_some(others)}."
    return table, labels, [note] if others else []


def _some(names: Iterable[Any]) -> str:
    listed = list(map(str, names))
    return ", ".join(listed[:3]) + (f" and {len(listed) - 3} more" if len(listed) > 3 else "")
