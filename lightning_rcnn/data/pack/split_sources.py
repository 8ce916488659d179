"""Choose a split of a data set, or divide a data set into splits."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from fractions import Fraction
from typing import NamedTuple

from lightning_rcnn.data.defects import DefectLog
from lightning_rcnn.data.pack.division import SPLITS, divide
from lightning_rcnn.data.pack.groups import group_names
from lightning_rcnn.data.pack.source import NOTHING, Source
from lightning_rcnn.errors import InputError
from lightning_rcnn.suggestions import did_you_mean

Splits = dict[str, Source]
"""Split -> source; one without a name if the set is not split."""


class DividedSets(NamedTuple):
    """Data sets that were divided together.

    Attributes:
        splits: splits of each set.
        summary: what was divided how, for the user.
    """

    splits: list[Splits]
    summary: str


def choose_split(splits: Mapping[str, Source], name: str, title: str) -> Splits:
    """Return the one split with a name, as a set that is not split.

    Args:
        splits: splits of the data set.
        name: name of the split.
        title: name of the data set for messages.

    Raises:
        InputError: there is no such split.
    """
    if name not in splits:
        named = [split for split in splits if split]
        hint = did_you_mean(name, named) or (f"; it has {', '.join(named)}" if named else "; it has no splits")
        raise InputError(
            f"--split {name}: {title} has no such split{hint}; give one of its splits, or shares such as 0.8,0.1,0.1"
        )
    return {"": splits[name]}


def divide_sets(
    sets: Sequence[Mapping[str, Source]], shares: Sequence[Fraction], seed: int, group_by: str | None = None
) -> DividedSets:
    """Divide data sets together, so that images of one group are in the same split even if they are in two sets.

    What was found while listing a set is reported with its first split.

    Args:
        sets: splits of each data set; each must have one.
        shares: shares of train, val and perhaps test.
        seed: seed.
        group_by: see `group_names`.

    Raises:
        InputError: a set has splits of its own, or see `group_names` and `divide`.
    """
    sources = [_single(splits) for splits in sets]
    found = [_groups_of(source, group_by) for source in sources]
    groups = [group for _, listed in found for group in listed]
    classes = [listed for source in sources for listed in _class_names(source)]
    splits = divide(groups, classes, shares, seed)
    divided, start = [], 0
    for source in sources:
        divided.append(_parts(source, splits[start : start + len(source.items)], len(shares)))
        start += len(source.items)
    counts = Counter(splits)
    listed = ", ".join(
        f"{SPLITS[split]} {counts[split]} ({counts[split] / len(splits):.1%})" for split in range(len(shares))
    )
    kinds = dict.fromkeys(kind for kind, _ in found)
    summary = f"divided with the seed {seed}, {len(set(groups))} groups by {' and '.join(kinds)}: {listed}"
    return DividedSets(divided, summary)


def _single(splits: Mapping[str, Source]) -> Source:
    if len(splits) > 1:
        sizes = ", ".join(f"{split} {len(source.items)}" for split, source in splits.items())
        name = next(iter(splits.values())).name.rpartition("/")[0]
        raise InputError(
            f"--split: {name} has splits of its own ({sizes}); leave --split out to keep them, or choose one with "
            f"--split {next(iter(splits))}"
        )
    return next(iter(splits.values()))


def _groups_of(source: Source, group_by: str | None) -> tuple[str, list[str]]:
    names = [source.name_of(item) for item in source.items]
    columns = [source.group_of(item) for item in source.items]
    return group_names(names, columns, group_by, [category.name for category in source.categories])


def _class_names(source: Source) -> list[set[str]]:
    """Return the names of the classes in each image."""
    names = {category.label: category.name for category in source.categories}
    return [{names[label] for label in source.labels_of(item)} for item in source.items]


def _parts(source: Source, splits: Sequence[int], num: int) -> Splits:
    parts = {}
    for number in range(num):
        items = [item for item, split in zip(source.items, splits, strict=True) if split == number]
        parts[SPLITS[number]] = replace(
            source,
            name=f"{source.name}/{SPLITS[number]}",
            items=items,
            log=source.log if number == 0 else DefectLog(),
            left_out=source.left_out if number == 0 else NOTHING,
        )
    return parts
