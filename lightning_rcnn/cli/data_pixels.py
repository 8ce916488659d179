"""Channels and range of a model's images: taken from the data, where the configuration does not give them."""

from dataclasses import fields
from typing import Any

from jsonargparse import Namespace
from torch.utils.data import Dataset

from lightning_rcnn.data.pixel_format import RGB, PixelFormat
from lightning_rcnn.data.shards import read_training_shards
from lightning_rcnn.errors import InputError


def take_pixels_from_data(init_args: Namespace, source: Any) -> None:
    """Fill in `preprocessing.pixels` and the backbone's `in_channels` of a model that is to be trained.

    What the configuration gives stays; the data module refuses data of another layout.

    Args:
        init_args: arguments of the model, changed in place.
        source: packed data, or a `torch.utils.data.Dataset`, whose images are RGB.

    Raises:
        InputError: the data cannot be read, or the backbone takes RGB only.
    """
    preprocessing, backbone = (init_args.get(name) for name in ("preprocessing", "backbone"))
    if isinstance(source, Dataset) or preprocessing is None or backbone is None:
        return
    index = read_training_shards(source).index
    given = PixelFormat(**preprocessing.init_args.pixels.init_args.as_dict())
    pixels = index.pixels if given == RGB else given
    values = {field.name: getattr(pixels, field.name) for field in fields(PixelFormat)}
    preprocessing.init_args.pixels.init_args = Namespace(**values)
    if pixels.channels == RGB.channels:
        return
    if "in_channels" not in backbone.init_args:
        raise InputError(
            f"model.backbone: {backbone.class_path} takes no in_channels, but {index.name} has {pixels.layout}; give "
            "it that argument, or pack the set with --channels rgb"
        )
    if backbone.init_args.in_channels == RGB.channels:
        backbone.init_args.in_channels = pixels.channels
