"""What a model takes from the data of its command: classes, keypoints and channels."""

from typing import Any

from jsonargparse import Namespace
from torch.utils.data import Dataset

from lightning_rcnn.cli.class_names import data_set_of, take_classes_from_data
from lightning_rcnn.cli.data_pixels import take_pixels_from_data
from lightning_rcnn.cli.showing import SHOW
from lightning_rcnn.errors import InputError

SPLITS = {"fit": "train", "validate": "val", "test": "test", "predict": "predict", SHOW: "train"}
"""Command -> the data it needs."""


def take_from_data(config: Namespace, command: str) -> Dataset[Any] | None:
    """Fill in what the data decide of a model; return the data set of torch that is named, None for packed data.

    Args:
        config: configuration of the command, changed in place.
        command: name of the command.

    Raises:
        InputError: there are no data, they cannot be read, or do not fit the model.
    """
    split = SPLITS[command]
    source = config.data[split]
    if source is None:
        raise InputError(f"no data to {command}: give --data.{split} a packed folder, shards or URLs")
    if command == "predict":
        return None
    data_set = data_set_of(source, split)
    classes_from = source if data_set is None else data_set
    take_classes_from_data(config.model.init_args, classes_from, split)
    if command in ("fit", SHOW):
        take_pixels_from_data(config.model.init_args, classes_from)
    return data_set
