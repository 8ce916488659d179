"""Names of mmdetection's weights (2.x and 3.x) and ours."""

import re
from collections.abc import Callable, Mapping
from typing import Any

from lightning_rcnn.checkpoints import swin_names
from lightning_rcnn.checkpoints.detectron2_names import BODY, REGION_STAGE

CLASS_LOGITS = re.compile(r"roi_head\.bbox_head\.(?:0\.)?fc_cls\.weight")
"""Logits of the classes, of the first stage of a cascade."""
CASCADE = "roi_head.bbox_head.0.fc_cls.weight"
MASK_LOGITS = re.compile(r"roi_head\.mask_head\.(?:(\d)\.)?conv_logits\.weight")
_GROUP_NORM = re.compile(r"\bgn(\d)\b")
_STAGE = re.compile(r"roi_head\.(bbox|mask)_head\.(\d)\.")
_NORM = r"(?:(conv|bn|gn)\.)?"
"""mmcv's convolution with its norm has both by name; one alone is named without."""


def our_name(name: str, weights: Mapping[str, Any], mask_stage: str | None) -> str | None:
    """Return our name of a weight; None if it has no place.

    Args:
        name: mmdetection's name.
        weights: all weights by mmdetection's names: a convolution with a norm is named otherwise than one without.
        mask_stage: number of the mask head that is taken of a cascade with one for each stage; None for a single one.
    """
    if name.startswith("backbone.") and swin_names.is_swin(weights):
        return swin_names.our_name(name)
    if name.startswith("backbone."):
        inner = name.removeprefix("backbone.").replace(".conv2.conv_offset.", ".conv2.offset.")
        return BODY + _GROUP_NORM.sub(r"bn\1", inner)
    if name.startswith("roi_head.shared_head.layer4."):
        return REGION_STAGE + _GROUP_NORM.sub(r"bn\1", name.removeprefix("roi_head.shared_head.layer4."))
    stage = _STAGE.match(name)
    if stage and stage[1] == "mask" and stage[2] != mask_stage:
        return None
    for pattern, rename in _RENAMES:
        if match := pattern.fullmatch(name):
            return rename(match, weights)
    return None


def norm_of(convolution: str, weights: Mapping[str, Any]) -> str | None:
    """Return our name of the norm beside a convolution; None without."""
    if f"{convolution}.gn.weight" in weights:
        return "group_norm"
    return "batch_norm" if f"{convolution}.bn.weight" in weights else None


def _pyramid(match: re.Match[str], weights: Mapping[str, Any]) -> str:
    blocks = "inner_blocks" if match[1] == "lateral" else "layer_blocks"
    return f"backbone.fpn.{blocks}.{match[2]}.{int(match[3] != 'conv')}.{match[4]}"


def _rpn(match: re.Match[str], weights: Mapping[str, Any]) -> str:
    number = int(match[1] or 0)
    return f"rpn.head.{f'more_convs.{number - 1}' if number else 'conv'}.{match[2]}"


def _of_box(stage: str | None) -> str:
    return f"box.stages.{stage}." if stage else "box."


def _convolution(match: re.Match[str], weights: Mapping[str, Any]) -> str:
    kind, stage, number, part, item = match.groups()
    head = f"{_of_box(stage)}head" if kind == "bbox" else "mask.head"
    layers = "shared_convs" if kind == "bbox" else "convs"
    whole = f"roi_head.{kind}_head.{f'{stage}.' if stage else ''}{layers}.{number}"
    place = f".{int(part != 'conv')}" if norm_of(whole, weights) else ""
    return f"{head}.convolutions.{number}{place}.{item}"


def _layer(match: re.Match[str], weights: Mapping[str, Any]) -> str:
    return f"{_of_box(match[1])}head.fc{int(match[2]) + 6}.{match[3]}"


def _predictor(match: re.Match[str], weights: Mapping[str, Any]) -> str:
    return f"{_of_box(match[1])}predictor.{'class_logits' if match[2] == 'cls' else 'box_deltas'}.{match[3]}"


_RENAMES: list[tuple[re.Pattern[str], Callable[[re.Match[str], Mapping[str, Any]], str]]] = [
    (re.compile(r"neck\.(lateral|fpn)_convs\.([0-3])\.(conv|bn|gn)\.(\w+)"), _pyramid),
    (re.compile(r"rpn_head\.rpn_conv\.(?:(\d)\.conv\.)?(\w+)"), _rpn),
    (re.compile(r"rpn_head\.rpn_cls\.(\w+)"), lambda match, _: f"rpn.head.objectness.{match[1]}"),
    (re.compile(r"rpn_head\.rpn_reg\.(\w+)"), lambda match, _: f"rpn.head.deltas.{match[1]}"),
    (re.compile(r"roi_head\.(bbox)_head\.(?:(\d)\.)?shared_convs\.(\d)\.(conv|bn|gn)\.(\w+)"), _convolution),
    (re.compile(r"roi_head\.(mask)_head\.(?:(\d)\.)?convs\.(\d)\.(conv|bn|gn)\.(\w+)"), _convolution),
    (re.compile(r"roi_head\.bbox_head\.(?:(\d)\.)?shared_fcs\.([01])\.(\w+)"), _layer),
    (re.compile(r"roi_head\.bbox_head\.(?:(\d)\.)?fc_(cls|reg)\.(\w+)"), _predictor),
    (re.compile(r"roi_head\.mask_head\.(?:\d\.)?upsample\.(\w+)"), lambda match, _: f"mask.head.upsample.{match[1]}"),
    (re.compile(r"roi_head\.mask_head\.(?:\d\.)?conv_logits\.(\w+)"), lambda match, _: f"mask.head.logits.{match[1]}"),
]
