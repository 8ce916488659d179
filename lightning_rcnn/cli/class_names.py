"""The classes of a model: from the shards, unless they are given; never two answers."""

from typing import Any

from lightning_rcnn.data.class_names import require_same_classes
from lightning_rcnn.data.shards import read_index


def take_classes_from_data(init_args: dict[str, Any], source: str | list[str]) -> None:
    """Fill in `class_names` and `category_ids` of a model from the index of packed shards.

    Args:
        init_args: arguments of the model; changed in place where these two are missing.
        source: packed data.

    Raises:
        InputError: the data cannot be read, or have other classes than the model.
    """
    categories = read_index(source).categories
    require_same_classes(init_args.get("class_names"), init_args.get("category_ids"), categories, source)
    init_args["class_names"] = [category.name for category in categories]
    init_args["category_ids"] = [category.id for category in categories]
