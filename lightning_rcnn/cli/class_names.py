"""The classes of a model: from the data, unless they are given; never two answers."""

from typing import Any

from jsonargparse import Namespace

from lightning_rcnn.class_paths import import_path
from lightning_rcnn.data.class_names import require_same_classes
from lightning_rcnn.data.shards import read_index
from lightning_rcnn.data.torch_dataset import categories_of


def take_classes_from_data(init_args: dict[str, Any], source: Any, split: str) -> None:
    """Fill in `class_names` and `category_ids` of a model from its data.

    Args:
        init_args: arguments of the model; changed in place where these two are missing.
        source: packed data, or class path and arguments of a data set of torch.
        split: for messages.

    Raises:
        InputError: the data cannot be read, or have other classes than the model.
    """
    if isinstance(source, Namespace):
        arguments = source.get("init_args") or Namespace()
        categories = categories_of(import_path(source.class_path)(**arguments.as_dict()), split)
        name = source.class_path
    else:
        categories = read_index(source).categories
        name = source
    require_same_classes(init_args.get("class_names"), init_args.get("category_ids"), categories, name)
    init_args["class_names"] = [category.name for category in categories]
    init_args["category_ids"] = [category.id for category in categories]
