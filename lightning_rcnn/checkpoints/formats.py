"""Formats of weight files that can be read, and how each is recognized."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Literal, NamedTuple

from torch import Tensor

from lightning_rcnn.checkpoints import detectron2, imagenet, mmdetection, torchvision
from lightning_rcnn.checkpoints.configs.detectron2_files import config_beside
from lightning_rcnn.checkpoints.detectron2_profiles import ProfileName
from lightning_rcnn.checkpoints.header import is_ours
from lightning_rcnn.checkpoints.reading import WeightFile, read_content, weights_in
from lightning_rcnn.checkpoints.translation import Translation
from lightning_rcnn.errors import InputError

FormatName = Literal["torchvision", "detectron2", "mmdetection", "backbone"]


class _Format(NamedTuple):
    is_its: Callable[[Mapping[str, Tensor]], bool]
    translate: Callable[[WeightFile], Translation]


_FORMATS: dict[str, _Format] = {
    "torchvision": _Format(torchvision.is_torchvision, torchvision.translate),
    "detectron2": _Format(detectron2.is_detectron2, detectron2.translate),
    "mmdetection": _Format(mmdetection.is_mmdetection, mmdetection.translate),
    "backbone": _Format(imagenet.is_backbone, imagenet.translate),
}


def translate(
    path: Path,
    format: FormatName | None = None,
    profile: ProfileName | None = None,
    config: Path | None = None,
) -> Translation:
    """Translate the weight file of another program.

    Args:
        path: the file.
        format: program that wrote it; by default recognized by the names of the weights.
        profile: profile of detectron2's settings, which the file does not record.
        config: configuration that the weights were trained with; by default one beside the file.

    Raises:
        InputError: the file cannot be read, or its format is unknown.
    """
    content = read_content(path)
    if is_ours(content):
        raise InputError(f"{path}: already a checkpoint of lightning-rcnn; --to torchvision converts it back")
    return translate_weights(weights_in(content, path), format, profile, config)


def translate_weights(
    file: WeightFile,
    format: FormatName | None = None,
    profile: ProfileName | None = None,
    config: Path | None = None,
) -> Translation:
    """Translate the weights of a file that is already read; otherwise as `translate`."""
    path, weights = file.path, file.weights
    names = [name for name, known in _FORMATS.items() if known.is_its(weights)]
    if format is not None and format not in names:
        raise InputError(f"{path}: not weights of {format}; the first weight is {next(iter(weights))!r}")
    if not names:
        raise InputError(
            f"{path}: neither a Faster or Mask R-CNN of torchvision, detectron2 or mmdetection on a ResNet, nor a "
            "ResNet of theirs; "
            f"the first of {len(weights)} weights is {next(iter(weights))!r}"
        )
    chosen = format or names[0]
    if chosen == "detectron2":
        return detectron2.translate(file, profile, config or (None if profile else config_beside(path)))
    if profile is not None:
        raise InputError(f"--profile {profile}: is for models of detectron2, but {path} is of {chosen}; leave it out")
    if chosen == "mmdetection":
        return mmdetection.translate(file, config)
    if config is not None:
        raise InputError(f"--config {config}: {path} is of {chosen}, which has no configurations; leave it out")
    return _FORMATS[chosen].translate(file)
