"""Backbones trained on ImageNet: torchvision's, detectron2's and those of He et al. in Caffe2's names."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from torch import Tensor

from lightning_rcnn.checkpoints.detectron2_profiles import input_of
from lightning_rcnn.checkpoints.reading import WeightFile
from lightning_rcnn.checkpoints.residual_names import from_caffe2, from_detectron2, unused
from lightning_rcnn.checkpoints.residual_norms import STATISTICS_MADE, statistics_left_out
from lightning_rcnn.checkpoints.residual_shapes import architecture
from lightning_rcnn.checkpoints.translation import RESNET_FPN, Translation, part
from lightning_rcnn.plain_data import merge

_BODY = "backbone.body."
_RENAME: dict[str, Callable[[str], str | None]] = {
    "Caffe2": from_caffe2,
    "detectron2": from_detectron2,
    "torchvision": str,
}
"""Naming -> torchvision's name of a weight."""


def is_backbone(weights: Mapping[str, Tensor]) -> bool:
    """Tell whether these are the weights of a ResNet and nothing else."""
    return any(name in weights for name in ("conv1.weight", "stem.conv1.weight", "conv1_w"))


class Body(NamedTuple):
    """A ResNet under torchvision's names.

    Attributes:
        weights: weights that a backbone needs.
        names: name in the file -> torchvision's name.
        made: names of the statistics that the file lacks and that are filled in.
    """

    weights: dict[str, Tensor]
    names: dict[str, str]
    made: list[str]


def body_weights(weights: Mapping[str, Tensor]) -> Body:
    """Return the ResNet in a file, without its classifier.

    Args:
        weights: weights in any of the three namings.
    """
    rename = _RENAME[_naming(weights)]
    names = {name: ours for name in weights if not unused(name) and (ours := rename(name))}
    renamed = {ours: weights[theirs] for theirs, ours in names.items()}
    made = statistics_left_out(renamed)
    return Body(renamed | made, names, list(made))


def translate(file: WeightFile) -> Translation:
    """Translate a backbone to a Faster R-CNN whose other parts are new, for training.

    Args:
        file: the state dict of the backbone.

    Raises:
        InputError: the backbone is none of ours.
    """
    weights = file.weights
    body = body_weights(weights)
    backbone = architecture(WeightFile(file.path, body.weights))
    naming = _naming(weights)
    hyperparameters: dict[str, Any] = {
        "class_names": ["object"],
        "backbone": part(RESNET_FPN, name=backbone, norm="frozen_batch_norm", frozen_stages=2),
    }
    if naming == "Caffe2":
        hyperparameters = merge(hyperparameters, input_of(backbone))
    counters = [theirs for theirs, ours in body.names.items() if ours.endswith("num_batches_tracked")]
    names = {theirs: f"{_BODY}{ours}" for theirs, ours in body.names.items() if theirs not in counters}
    dropped = dict.fromkeys(counters, "frozen norms do not count")
    dropped |= {name: reason for name in weights if (reason := unused(name))}
    return Translation(
        f"a {backbone} trained on ImageNet, in the names of {naming}",
        file.path,
        "FasterRCNN",
        hyperparameters,
        {ours: weights[theirs] for theirs, ours in names.items()}
        | {f"{_BODY}{name}": body.weights[name] for name in body.made},
        names,
        dropped=dropped,
        unexpected=[name for name in weights if name not in names and name not in dropped],
        made={f"{_BODY}{name}": STATISTICS_MADE for name in body.made},
        may_be_missing=("backbone.fpn", "rpn", "box"),
    )


def _naming(weights: Mapping[str, Tensor]) -> str:
    if "conv1_w" in weights:
        return "Caffe2"
    return "detectron2" if "stem.conv1.weight" in weights else "torchvision"
