"""Names of detectron2's weights and ours."""

import re
from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor

from lightning_rcnn.checkpoints import regnet_names, vitdet_names
from lightning_rcnn.checkpoints.residual_names import from_detectron2

BODY, REGION_STAGE = "backbone.body.", "pooler.stage."
CLASS_LOGITS = re.compile(r"roi_heads\.box_predictor\.(?:0\.)?cls_score\.weight")
"""Logits of the classes, of the first stage of a cascade."""
CASCADE = "roi_heads.box_predictor.0.cls_score.weight"
COARSE_MASK = re.compile(r"roi_heads\.(?:mask_head\.coarse_head|mask_coarse_head)\.prediction\.weight")
"""The coarse mask of PointRend, by the names of today and of the first published models."""
MASK_LAYER = re.compile(r"roi_heads\.mask_head\.mask_fcn\d\.weight")
_RPN_CONVOLUTION = re.compile(r"proposal_generator\.rpn_head\.conv\.(?:conv(\d)\.)?(\w+)")
_PYRAMID = re.compile(r"backbone\.fpn_(lateral|output)(\d)\.(norm\.)?(\w+)")
_BOX_HEAD = re.compile(r"roi_heads\.box_head\.(?:(\d)\.)?(conv|fc)(\d)\.(norm\.)?(\w+)")
_BOX_PREDICTOR = re.compile(r"roi_heads\.box_predictor\.(?:(\d)\.)?(cls_score|bbox_pred)\.(\w+)")
_MASK_LAYER = re.compile(r"roi_heads\.mask_head\.mask_fcn(\d)\.(norm\.)?(\w+)")
_KEYPOINT_LAYER = re.compile(r"roi_heads\.keypoint_head\.conv_fcn(\d)\.(\w+)")
_COARSE_LAYER = re.compile(r"roi_heads\.mask_(?:head\.coarse_head\.|coarse_head\.coarse_mask_)fc(\d)\.(\w+)")
_POINT_LAYER = re.compile(r"roi_heads\.mask_(?:head\.)?point_head\.fc(\d)\.(\w+)")
_COARSE_HEADS = ("mask_head.coarse_head", "mask_coarse_head")
_PREFIXES = {
    "proposal_generator.rpn_head.objectness_logits.": "rpn.head.objectness.",
    "proposal_generator.rpn_head.anchor_deltas.": "rpn.head.deltas.",
    "roi_heads.mask_head.deconv.": "mask.head.upsample.",
    "roi_heads.keypoint_head.score_lowres.": "keypoint.head.deconvolution.",
    "roi_heads.mask_head.predictor.": "mask.head.logits.",
    **{f"roi_heads.{coarse}.reduce_spatial_dim_conv.": "mask.coarse.reduce." for coarse in _COARSE_HEADS},
    **{f"roi_heads.{coarse}.prediction.": "mask.coarse.logits." for coarse in _COARSE_HEADS},
    "roi_heads.mask_head.point_head.predictor.": "mask.point_head.logits.",
    "roi_heads.mask_point_head.predictor.": "mask.point_head.logits.",
}


def our_name(name: str, weights: Mapping[str, Any]) -> str | None:
    """Return our name of a weight; None if it has no place.

    Args:
        name: detectron2's name.
        weights: all weights by detectron2's names: a convolution with a norm is named otherwise than one without.
    """
    if name.startswith("roi_heads.res5."):  # with C4, the last stage of the ResNet belongs to the head
        inner = from_detectron2(name.removeprefix("roi_heads."))
        return inner and inner.replace("layer4.", REGION_STAGE, 1)
    for prefix in ("backbone.bottom_up.", "backbone."):
        below = name.removeprefix(prefix)
        if name.startswith(prefix) and (inner := from_detectron2(below) or regnet_names.from_detectron2(below)):
            return f"{BODY}{inner}"
    if name.startswith(vitdet_names.PREFIXES):
        return name
    for prefix, ours in _PREFIXES.items():
        if name.startswith(prefix):
            return ours + name.removeprefix(prefix)
    for pattern, rename in _RENAMES:
        if match := pattern.fullmatch(name):
            return rename(match, weights)
    return None


def norm_of(convolution: str, weights: Mapping[str, Tensor]) -> str | None:
    """Return our name of the norm after a convolution, which a head or the pyramid has; None without."""
    if f"{convolution}.norm.weight" not in weights:
        return None
    return "batch_norm" if f"{convolution}.norm.running_mean" in weights else "group_norm"


def _rpn_convolution(match: re.Match[str], weights: Mapping[str, Any]) -> str:
    number = int(match[1] or 0)
    return f"rpn.head.{f'more_convs.{number - 1}' if number else 'conv'}.{match[2]}"


def _pyramid(match: re.Match[str], weights: Mapping[str, Any]) -> str:
    blocks = "inner_blocks" if match[1] == "lateral" else "layer_blocks"
    return f"backbone.fpn.{blocks}.{int(match[2]) - 2}.{int(bool(match[3]))}.{match[4]}"


def _box_head(match: re.Match[str], weights: Mapping[str, Any]) -> str:
    stage, kind, number, norm, item = match.groups()
    head = f"box.stages.{stage}.head" if stage else "box.head"
    if kind == "fc":
        return f"{head}.fc{int(number) + 5}.{item}"
    convolution = match.string.removesuffix(f"{norm or ''}{item}").rstrip(".")
    return f"{head}.convolutions.{int(number) - 1}{_place(convolution, bool(norm), weights)}.{item}"


def _box_predictor(match: re.Match[str], weights: Mapping[str, Any]) -> str:
    stage, layer, item = match.groups()
    branch = f"box.stages.{stage}" if stage else "box"
    return f"{branch}.predictor.{'class_logits' if layer == 'cls_score' else 'box_deltas'}.{item}"


def _mask_layer(match: re.Match[str], weights: Mapping[str, Any]) -> str:
    number, norm, item = match.groups()
    place = _place(f"roi_heads.mask_head.mask_fcn{number}", bool(norm), weights)
    return f"mask.head.convolutions.{int(number) - 1}{place}.{item}"


def _place(convolution: str, is_norm: bool, weights: Mapping[str, Any]) -> str:
    """Return where a convolution or its norm is in our pair of both; nothing for a convolution alone."""
    if f"{convolution}.norm.weight" not in weights:
        return ""
    return ".1" if is_norm else ".0"


_RENAMES: list[tuple[re.Pattern[str], Callable[[re.Match[str], Mapping[str, Any]], str]]] = [
    (_RPN_CONVOLUTION, _rpn_convolution),
    (_PYRAMID, _pyramid),
    (_BOX_HEAD, _box_head),
    (_BOX_PREDICTOR, _box_predictor),
    (_MASK_LAYER, _mask_layer),
    (_KEYPOINT_LAYER, lambda match, _: f"keypoint.head.convolutions.{int(match[1]) - 1}.{match[2]}"),
    (_COARSE_LAYER, lambda match, _: f"mask.coarse.layers.{int(match[1]) - 1}.{match[2]}"),
    (_POINT_LAYER, lambda match, _: f"mask.point_head.layers.{int(match[1]) - 1}.{match[2]}"),
]
