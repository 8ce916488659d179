"""Backbones of detectron2's detectors: which of ours weights belong to, and the settings that come with them."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from torch import Tensor

from lightning_rcnn.checkpoints import regnet_names, vitdet_names
from lightning_rcnn.checkpoints.detectron2_names import BODY, REGION_STAGE, norm_of
from lightning_rcnn.checkpoints.detectron2_profiles import input_of
from lightning_rcnn.checkpoints.reading import WeightFile
from lightning_rcnn.checkpoints.residual_norms import (
    COUNTERS_MADE,
    STATISTICS_MADE,
    counters_left_out,
    statistics_left_out,
)
from lightning_rcnn.checkpoints.residual_shapes import architecture, deformable
from lightning_rcnn.checkpoints.translation import REGNET_FPN, RESNET_C4, RESNET_DC5, RESNET_FPN, part
from lightning_rcnn.errors import InputError
from lightning_rcnn.plain_data import INIT_ARGS, merge

_RESNETS = {"fpn": RESNET_FPN, "c4": RESNET_C4, "dc5": RESNET_DC5}
_STEMS = ("backbone.bottom_up.stem.", "backbone.stem.")
_OTHER_TRANSFORMERS = "backbone.bottom_up.patch_embed."
"""Of Swin Transformers and MViTs."""


class BackboneFound(NamedTuple):
    """A backbone of detectron2.

    Attributes:
        settings: settings of our backbone and of the preprocessing.
        made: our names -> weights that the file lacks.
        why_made: what these are.
    """

    settings: dict[str, Any]
    made: dict[str, Tensor]
    why_made: str


def has_backbone(weights: Mapping[str, Tensor]) -> bool:
    """Tell whether weights are of a detector on one of detectron2's backbones."""
    return vitdet_names.is_vitdet(weights) or any(name.startswith((*_STEMS, _OTHER_TRANSFORMERS)) for name in weights)


def neck_of(weights: Mapping[str, Tensor]) -> str:
    """Return what is on top of the backbone: "fpn" for a pyramid of any kind, else "dc5" or "c4"."""
    if "backbone.fpn_lateral2.weight" in weights or vitdet_names.is_vitdet(weights):
        return "fpn"
    return "dc5" if any(name.startswith("backbone.res5.") for name in weights) else "c4"


def read_backbone(file: WeightFile, renamed: Mapping[str, Tensor], is_jittered: bool) -> BackboneFound:
    """Return the backbone of a detector.

    Args:
        file: weights by detectron2's names.
        renamed: the weights that have a place, by our names.
        is_jittered: whether these are weights of the baselines with large-scale jitter, which freeze nothing.

    Raises:
        InputError: the backbone is none of ours.
    """
    if vitdet_names.is_vitdet(file.weights):
        return BackboneFound(vitdet_names.settings_of(file), {}, "")
    if any(name.startswith(_OTHER_TRANSFORMERS) for name in file.weights):
        raise InputError(
            f"{file.path}: on a Swin Transformer or an MViT of detectron2, whose weights are not read; take a ViTDet, "
            "or mmdetection's detectors on Swin Transformers"
        )
    fpn_norm = norm_of("backbone.fpn_lateral2", file.weights)
    is_counting = any(name.startswith(BODY) and name.endswith("num_batches_tracked") for name in renamed)
    norm = "batch_norm" if is_counting else fpn_norm  # frozen ones do not count, group norms neither
    body = {name.replace(REGION_STAGE, f"{BODY}layer4.").removeprefix(BODY): value for name, value in renamed.items()}
    backbone, preprocessing = _network(WeightFile(file.path, body), neck_of(file.weights), fpn_norm)
    backbone[INIT_ARGS] |= {
        "norm": norm or "frozen_batch_norm",
        "norm_epsilon": 1e-5,
        "frozen_stages": 0 if is_jittered and fpn_norm else 2,
    }
    if fpn_norm:
        backbone[INIT_ARGS]["fpn_norm"] = fpn_norm
    settings = {"backbone": backbone, "preprocessing": preprocessing}
    if norm is None:
        return BackboneFound(settings, statistics_left_out(renamed), STATISTICS_MADE)
    return BackboneFound(settings, counters_left_out(renamed), COUNTERS_MADE)


def _network(body: WeightFile, neck: str, fpn_norm: str | None) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the settings of the network and of its preprocessing.

    ResNets with group norms are its authors', which have the stride in the 3 x 3 convolution.
    """
    if regnet_names.is_regnet(body.weights):
        name = regnet_names.network_of(body)
        return part(REGNET_FPN, name=name), input_of(name)["preprocessing"]
    name = architecture(body)
    usual = input_of(name)
    arguments = merge(usual["backbone"][INIT_ARGS], deformable(body))
    if fpn_norm == "group_norm":
        arguments["stride_in_1x1"] = False
    return part(_RESNETS[neck], name=name, **arguments), usual["preprocessing"]
