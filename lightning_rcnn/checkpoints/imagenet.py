"""Backbones trained on ImageNet: torchvision's, detectron2's and those of He et al. in Caffe2's names."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lightning_rcnn.checkpoints import detectron2
from lightning_rcnn.checkpoints.residual_names import from_caffe2, from_detectron2, is_classifier
from lightning_rcnn.checkpoints.residual_shapes import architecture
from lightning_rcnn.checkpoints.translation import Translation

_EPSILON = 1e-5
_INPUT_OF_CAFFE2: dict[str, Any] = {"pixel_range": 255.0, "channel_order": "bgr"}


def is_backbone(weights: Mapping[str, Tensor]) -> bool:
    """Whether these are the weights of a ResNet and nothing else."""
    return any(name in weights for name in ("conv1.weight", "stem.conv1.weight", "conv1_w"))


def body_weights(weights: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, str]]:
    """A ResNet under torchvision's names.

    Args:
        weights: under any of the three namings.

    Returns:
        The weights, without the classifier, and which name of theirs became which.
    """
    naming = _naming(weights)
    if naming == "Caffe2":
        names = {name: ours for name in weights if (ours := from_caffe2(name))}
    elif naming == "detectron2":
        names = {name: ours for name in weights if (ours := from_detectron2(name))}
    else:
        names = {name: name for name in weights if not is_classifier(name)}
    body = {ours: weights[theirs] for theirs, ours in names.items()}
    for name, bias in list(body.items()):
        stem, _, item = name.rpartition(".")
        if item == "bias" and f"{stem}.running_var" not in body and ("bn" in stem or "downsample.1" in stem):
            # Caffe2's norms have their statistics worked into scale and shift: what is left is to change nothing.
            body[f"{stem}.running_mean"] = torch.zeros_like(bias)
            body[f"{stem}.running_var"] = torch.ones_like(bias) - _EPSILON
    return body, names


def translate(weights: Mapping[str, Tensor], path: Path) -> Translation:
    """A backbone as a Faster R-CNN whose other parts are new, for training.

    Args:
        weights: the state dict.
        path: of the file, for messages.

    Raises:
        InputError: a backbone that we don't have.
    """
    body, names = body_weights(weights)
    backbone = architecture(body, path)
    naming = _naming(weights)
    is_resnext = backbone.startswith("resnext")
    hyperparameters: dict[str, Any] = {
        "class_names": ["object"],
        "backbone": backbone,
        "norm": "frozen_batch_norm",
        "frozen_stages": 2,
    }
    if naming == "Caffe2":
        hyperparameters |= _INPUT_OF_CAFFE2
        hyperparameters |= detectron2.PIXELS_RESNEXT if is_resnext else detectron2.PIXELS_MSRA
        hyperparameters["stride_in_1x1"] = "layer1.0.conv3.weight" in body and not is_resnext
    rest = [name for name in weights if name not in names]
    kept = {theirs: ours for theirs, ours in names.items() if not ours.endswith("num_batches_tracked")}
    return Translation(
        f"a {backbone} trained on ImageNet, in the names of {naming}",
        path,
        "FasterRCNN",
        hyperparameters,
        {f"backbone.body.{name}": value for name, value in body.items() if not name.endswith("num_batches_tracked")},
        {theirs: f"backbone.body.{ours}" for theirs, ours in kept.items()},
        dropped={name: "classifier" for name in rest if is_classifier(name)}
        | {theirs: "frozen norms do not count" for theirs in names if theirs not in kept},
        unexpected=[name for name in rest if not is_classifier(name)],
        may_be_missing=("backbone.fpn", "rpn", "box_head", "box_predictor"),
    )


def _naming(weights: Mapping[str, Tensor]) -> str:
    if "conv1_w" in weights:
        return "Caffe2"
    return "detectron2" if "stem.conv1.weight" in weights else "torchvision"
