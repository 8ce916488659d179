"""The classes of a model: from the shards, unless they are given; never two answers."""

from collections.abc import Sequence
from typing import Any

from lightning_rcnn.data.index import Category
from lightning_rcnn.data.shards import read_index
from lightning_rcnn.errors import InputError


def take_classes_from_data(init_args: dict[str, Any], source: str | list[str]) -> None:
    """Fill in `class_names` and `category_ids` of a model from the index of packed shards.

    Args:
        init_args: arguments of the model; changed in place where these two are missing.
        source: packed data.

    Raises:
        InputError: the data cannot be read, or have other classes than the model.
    """
    categories = read_index(source).categories
    _check(init_args.get("class_names"), init_args.get("category_ids"), categories, source)
    init_args["class_names"] = [category.name for category in categories]
    init_args["category_ids"] = [category.id for category in categories]


def _check(
    names: Sequence[str] | None, ids: Sequence[int] | None, categories: list[Category], source: str | list[str]
) -> None:
    for key, given, found in (
        ("class_names", names, [category.name for category in categories]),
        ("category_ids", ids, [category.id for category in categories]),
    ):
        if not given or list(given) == found:
            continue
        if len(given) != len(found):
            hint = "; convert --only_used_classes leaves out those called N/A" if "N/A" in (names or ()) else ""
            raise InputError(f"model.{key} has {len(given)} entries, but {source} has {len(found)} classes{hint}")
        label = next(index for index, pair in enumerate(zip(given, found, strict=True)) if pair[0] != pair[1])
        raise InputError(
            f"model.{key}: class {label + 1} is {given[label]!r} for the model, but {found[label]!r} in {source}"
        )
