"""Make one data set of several: classes are united by name, and the name of its set is put before that of each image.

So two files of the same name stay apart: `a/0001.jpg` and `b/0001.jpg`. Images are numbered anew, from 1 in the order
of the sets, because the ids of two sets may be equal. A split that only one set has keeps its names and ids.
"""

from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple

from lightning_rcnn.data.defects import DefectLog, Finding
from lightning_rcnn.data.index import Category, common_frequencies
from lightning_rcnn.data.pack.relabel import relabeled
from lightning_rcnn.data.pack.source import Contents, Outcome, Sample, Source
from lightning_rcnn.errors import InputError
from lightning_rcnn.skeleton import Skeleton, difference

OBJECT_IDS_PER_IMAGE = 100_000
"""Factor of the ids of objects: object i of image n gets n * this + i."""


class CombinedItem(NamedTuple):
    """An item of one of the sets.

    Attributes:
        image_id: number of the image in the combined set, from 1.
        source: number of its set.
        item: item of the set.
    """

    image_id: int
    source: int
    item: Any


def set_names(paths: Sequence[Path]) -> list[str]:
    """Return a short name for each path, all different: as many of its last parts as are needed.

    Raises:
        InputError: a path occurs twice, or is inside another one.
    """
    resolved = [path.resolve() for path in paths]
    for number, path in enumerate(resolved):
        for other in (*resolved[:number], *resolved[number + 1 :]):
            if path == other:
                raise InputError(f"{paths[number]}: given twice; give each data set once")
            if path in other.parents and path.is_dir():
                raise InputError(f"{paths[number]}: contains {other}, which is given too; give each data set once")
    named = [path.with_suffix("") if path.is_file() else path for path in resolved]
    for length in count(1):
        names = ["/".join(path.parts[-length:]).strip("/") for path in named]
        if len(set(names)) == len(names):
            return names
        if length > max(len(path.parts) for path in named):
            return [path.as_posix().strip("/") for path in resolved]
    raise AssertionError("count never ends")


def combine(sets: Sequence[Mapping[str, Source]], names: Sequence[str], name: str) -> dict[str, Source]:
    """Return the splits of several data sets as those of one.

    Args:
        sets: splits of each set.
        names: names of the sets, all different.
        name: name of the combined set.

    Raises:
        InputError: some sets are split and others are not, or their skeletons differ.
    """
    unsplit = [set_name for splits, set_name in zip(sets, names, strict=True) if list(splits) == [""]]
    if unsplit and len(unsplit) < len(sets):
        split = next(set_name for set_name in names if set_name not in unsplit)
        raise InputError(
            f"{split} has splits, and {unsplit[0]} has none; pack them one by one, or give sets that are all split"
        )
    categories = _united([source.categories for splits in sets for source in splits.values()])
    parts: defaultdict[str, list[tuple[str, Source]]] = defaultdict(list)
    for splits, set_name in zip(sets, names, strict=True):
        for split, source in splits.items():
            parts[split].append((set_name, _with_categories(source, categories)))
    return {
        split: _combined(f"{name}/{split}" if split else name, listed, categories) for split, listed in parts.items()
    }


def _united(listed: Sequence[Sequence[Category]]) -> list[Category]:
    """Return the classes of all sets, in the order in which they first occur; as they are if all sets have the same."""
    if all(categories == listed[0] for categories in listed):
        return list(listed[0])
    groups = common_frequencies((category.name, category.frequency) for categories in listed for category in categories)
    return [Category(label, name, label, frequency) for label, (name, frequency) in enumerate(groups.items(), start=1)]


def _with_categories(source: Source, categories: list[Category]) -> Source:
    if source.categories == categories:
        return source
    labels = {category.name: category.label for category in categories}
    return relabeled(source, categories, {category.label: labels[category.name] for category in source.categories})


def _combined(name: str, listed: Sequence[tuple[str, Source]], categories: list[Category]) -> Source:
    if len(listed) == 1:  # ids and names can stay
        return replace(listed[0][1], name=name)
    sources = [source for _, source in listed]
    _require_one_kind(sources)
    names = [set_name for set_name, _ in listed]
    pairs = [(number, item) for number, source in enumerate(sources) for item in source.items]
    items = [CombinedItem(image_id, number, item) for image_id, (number, item) in enumerate(pairs, start=1)]
    log = DefectLog()
    for set_name, source in listed:
        for defect, number, location in source.log.rows():
            log.add([Finding(defect, f"{set_name}/{location}")] * number)
    return Source(
        name,
        categories,
        items,
        partial(_read, reads=[source.read for source in sources], names=names),
        log,
        Contents(sum(each.left_out.images for each in sources), sum(each.left_out.objects for each in sources)),
        name_of=partial(_name_of, names_of=[source.name_of for source in sources], names=names),
        labels_of=partial(_labels_of, labels_of=[source.labels_of for source in sources]),
        is_federated=all(source.is_federated for source in sources),
        skeleton=_common_skeleton(listed),
        needs_python=any(source.needs_python for source in sources),
    )


def _require_one_kind(sources: Sequence[Source]) -> None:
    """Refuse a union in which the lists of an image would mean two things.

    Raises:
        InputError: some sets state which classes their images were looked through for, and others do not.
    """
    federated = [source.name for source in sources if source.is_federated]
    others = [source.name for source in sources if not source.is_federated]
    if federated and others:
        raise InputError(
            f"{federated[0]} is federated (neg_category_ids), and {others[0]} is annotated for all classes; pack each "
            "with the same --classes, and give both to data.train"
        )


def _common_skeleton(listed: Sequence[tuple[str, Source]]) -> Skeleton | None:
    """Return the skeleton of those sets that have one.

    Raises:
        InputError: two have different ones.
    """
    skeletons = [(name, source.skeleton) for name, source in listed if source.skeleton is not None]
    for name, skeleton in skeletons[1:]:
        if differs := difference(skeletons[0][1], skeleton):
            raise InputError(
                f"{skeletons[0][0]} and {name} have different keypoints ({differs}), and a data set has one skeleton; "
                "pack them apart"
            )
    return skeletons[0][1] if skeletons else None


def _name_of(item: CombinedItem, names_of: Sequence[Callable[[Any], str]], names: Sequence[str]) -> str:
    return f"{names[item.source]}/{names_of[item.source](item.item)}"


def _labels_of(item: CombinedItem, labels_of: Sequence[Callable[[Any], Collection[int]]]) -> Collection[int]:
    return labels_of[item.source](item.item)


def _read(item: CombinedItem, reads: Sequence[Callable[[Any], Outcome]], names: Sequence[str]) -> Outcome:
    outcome = reads[item.source](item.item)
    name = names[item.source]
    findings = [finding._replace(location=f"{name}/{finding.location}") for finding in outcome.findings]
    if outcome.sample is None:
        return outcome._replace(findings=findings)
    record = outcome.sample.record
    first_id = item.image_id * OBJECT_IDS_PER_IMAGE
    annotations = [each | {"id": first_id + number} for number, each in enumerate(record["annotations"], start=1)]
    record = record | {
        "image_id": item.image_id,
        "file_name": f"{name}/{record['file_name']}",
        "annotations": annotations,
    }
    return Outcome(Sample(outcome.sample.image, outcome.sample.extension, record), findings, outcome.num_objects)
