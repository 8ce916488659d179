"""Classes of a model: taken from the data, or checked against it if they are given."""

from typing import Any

from jsonargparse import Namespace
from torch.utils.data import Dataset

from lightning_rcnn.class_paths import import_path
from lightning_rcnn.data.class_names import require_same_classes
from lightning_rcnn.data.shards import read_training_shards
from lightning_rcnn.data.torch_dataset import categories_of
from lightning_rcnn.data.torch_keypoints import skeleton_of
from lightning_rcnn.errors import InputError


def data_set_of(source: Any, split: str) -> Dataset[Any] | None:
    """Build a data set of torch from its class path and arguments; None for packed data.

    Args:
        source: as configured.
        split: for messages.

    Raises:
        InputError: it cannot be built.
    """
    if not isinstance(source, Namespace):
        return None
    arguments = (source.get("init_args") or Namespace()).as_dict()
    try:
        return import_path(source.class_path)(**arguments)
    except InputError:
        raise
    except Exception as error:  # whatever the user's data set raises
        words = " ".join(str(error).split())
        raise InputError(f"data.{split}: {source.class_path}: {type(error).__name__}: {words}") from error


def take_classes_from_data(init_args: dict[str, Any], source: Any, split: str) -> None:
    """Fill in `class_names` and `category_ids` of a model from its data, and the skeleton of one with keypoints.

    Args:
        init_args: arguments of the model, which are set in place.
        source: packed data, or a `torch.utils.data.Dataset`.
        split: name of the data, for messages.

    Raises:
        InputError: the data cannot be read, or have other classes or keypoints than the model.
    """
    if isinstance(source, Dataset):
        categories, skeleton = categories_of(source, split), skeleton_of(source, split)
    else:
        index = read_training_shards(source).index  # of any split: setup checks the rest
        categories, skeleton = index.categories, index.skeleton
    require_same_classes(init_args.get("class_names"), init_args.get("category_ids"), categories, source)
    init_args["class_names"] = [category.name for category in categories]
    init_args["category_ids"] = [category.id for category in categories]
    if "skeleton" in init_args and init_args["skeleton"] is None and skeleton is not None:
        init_args["skeleton"] = Namespace(skeleton.plain_arguments())  # as if it stood in the configuration
