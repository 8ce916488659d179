"""Check that a model has the classes of its data."""

import shlex
from collections import Counter
from collections.abc import Sequence
from typing import Any

from torch.utils.data import Dataset

from lightning_rcnn.data.index import Category
from lightning_rcnn.errors import InputError
from lightning_rcnn.plural import plural

Source = str | list[str] | Dataset[Any]
"""Packed folders, shards or URLs, or a torch data set."""


def require_different(entries: Sequence[Any], owner: str) -> None:
    """Check that no entry occurs twice.

    Args:
        entries: names or ids.
        owner: what holds them, for the message.

    Raises:
        InputError: an entry occurs twice.
    """
    if twice := [entry for entry, number in Counter(entries).items() if number > 1]:
        raise InputError(f"{owner}: {twice[0]!r} occurs twice; give each class a name and an id of its own")


def _shortened(names: Sequence[str]) -> str:
    """Return names as a shell hands them to `--classes`, of many the first."""
    return shlex.quote(",".join(names)) if len(names) <= 10 else f"{','.join(names[:10])},... (all {len(names)})"


def _way_out(of_model: Sequence[str], of_data: Sequence[str], source: Source) -> str:
    """Return what to do about other names of classes; `pack --classes` takes names that the data have."""
    if isinstance(source, Dataset):
        return f"give its `classes` these names, or leave model.class_names out: {_shortened(of_model)}"
    if set(of_model) & set(of_data):
        return f"pack it with --classes {_shortened(of_model)}"
    return (
        "it has none of the model's classes; leave model.class_names out to train for its own, or give its annotations "
        "the model's names and pack it again"
    )


def require_same_classes(
    names: Sequence[str] | None, ids: Sequence[int] | None, categories: Sequence[Category], source: Source
) -> None:
    """Check that a model has the classes of the data, in the same order.

    Args:
        names: names of the model's classes; None if it has none yet.
        ids: category ids of the model's classes; None if it has none yet.
        categories: classes of the data.
        source: the data, for the message.

    Raises:
        InputError: the classes differ.
    """
    names_of_data = [category.name for category in categories]
    names_way_out = _way_out(names or (), names_of_data, source)
    name = type(source).__name__ if isinstance(source, Dataset) else source
    for key, of_model, of_data in (
        ("class_names", names, names_of_data),
        ("category_ids", ids, [category.id for category in categories]),
    ):
        if not of_model or list(of_model) == of_data:
            continue
        if len(of_model) != len(of_data):
            way_out = names_way_out
            if key == "category_ids":  # given without names that fit
                way_out = "leave them out, and those of the data count"
            elif "N/A" in of_model:
                way_out = "convert --only_used_classes leaves out those called N/A"
            raise InputError(
                f"model.{key} has {plural(len(of_model), 'entry')}, but {name} has {plural(len(of_data), 'class')}; "
                f"{way_out}"
            )
        index = next(index for index, pair in enumerate(zip(of_model, of_data, strict=True)) if pair[0] != pair[1])
        verb, way_out = "is", names_way_out
        if key == "category_ids":
            listed = ", ".join(map(str, of_data[:10])) + (", ..." if len(of_data) > 10 else "")
            verb, way_out = "has the id", f"set model.{key} to those of the data, [{listed}]"
        raise InputError(
            f"model.{key}: class {index + 1} {verb} {of_model[index]!r} for the model, "
            f"but {of_data[index]!r} in {name}; {way_out}"
        )
