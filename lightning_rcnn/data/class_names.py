"""The classes of a model are those of its data; never two answers."""

from collections.abc import Sequence

from lightning_rcnn.data.index import Category
from lightning_rcnn.errors import InputError


def require_same_classes(
    names: Sequence[str] | None, ids: Sequence[int] | None, categories: Sequence[Category], source: str | list[str]
) -> None:
    """See that a model has the classes of the data, in their order.

    Args:
        names: of the model's classes; None if it has none yet.
        ids: of the model's classes; None if it has none yet.
        categories: of the data.
        source: of the data, for the message.

    Raises:
        InputError: they differ.
    """
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
        what = "is" if key == "class_names" else "has the id"
        raise InputError(
            f"model.{key}: class {label + 1} {what} {given[label]!r} for the model, but {found[label]!r} in {source}"
        )
