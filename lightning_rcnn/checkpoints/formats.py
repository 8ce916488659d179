"""Whose file is it? The formats that can be read, and how each is recognised."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Literal, NamedTuple

from torch import Tensor

from lightning_rcnn.checkpoints import detectron2, imagenet, torchvision
from lightning_rcnn.checkpoints.detectron2 import ProfileName
from lightning_rcnn.checkpoints.header import is_ours
from lightning_rcnn.checkpoints.reading import read_content, weights_in
from lightning_rcnn.checkpoints.translation import Translation
from lightning_rcnn.errors import InputError

FormatName = Literal["torchvision", "detectron2", "backbone"]


class _Format(NamedTuple):
    is_its: Callable[[Mapping[str, Tensor]], bool]
    translate: Callable[[Mapping[str, Tensor], Path], Translation]


_FORMATS: dict[str, _Format] = {
    "torchvision": _Format(torchvision.is_torchvision, torchvision.translate),
    "detectron2": _Format(detectron2.is_detectron2, detectron2.translate),
    "backbone": _Format(imagenet.is_backbone, imagenet.translate),
}


def translate(path: Path, format: FormatName | None = None, profile: ProfileName | None = None) -> Translation:
    """What another program's file holds, in our words.

    Args:
        path: the file.
        format: whose it is; by default that is recognised by its names.
        profile: of detectron2's settings, where the file does not tell them.

    Raises:
        InputError: cannot be read, or is none of these.
    """
    content = read_content(path)
    if is_ours(content):
        raise InputError(f"{path}: is a checkpoint of lightning-rcnn already; --to torchvision converts it back")
    return translate_weights(weights_in(content, path), path, format, profile)


def translate_weights(
    weights: Mapping[str, Tensor], path: Path, format: FormatName | None = None, profile: ProfileName | None = None
) -> Translation:
    """The same of weights that are read already; `path` is for messages."""
    names = [name for name, known in _FORMATS.items() if known.is_its(weights)]
    if format is not None and format not in names:
        raise InputError(f"{path}: has not the weights of {format}; its first is {next(iter(weights))!r}")
    if not names:
        raise InputError(
            f"{path}: neither a Faster or Mask R-CNN of torchvision or detectron2 on a ResNet, nor a ResNet of theirs; "
            f"the first of {len(weights)} weights is {next(iter(weights))!r}"
        )
    chosen = format or names[0]
    if chosen == "detectron2":
        return detectron2.translate(weights, path, profile)
    if profile is not None:
        raise InputError(f"--profile {profile}: is of detectron2's models; {path} is of {chosen}")
    return _FORMATS[chosen].translate(weights, path)
