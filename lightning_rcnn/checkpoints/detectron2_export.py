"""Our detectors in detectron2's layout: the inverse of `detectron2_names.py`.

Its modules have the ResNet below `backbone.bottom_up` with a pyramid, else below `backbone`; the last stage of a C4
network belongs to its heads; the background is the last class.
"""

import re
from collections.abc import Callable

from torch import Tensor

from lightning_rcnn.checkpoints.detectron2_names import BODY, REGION_STAGE
from lightning_rcnn.checkpoints.reading import WeightFile
from lightning_rcnn.checkpoints.residual_names import to_detectron2
from lightning_rcnn.errors import InputError

_MORE_RPN_LAYERS = "rpn.head.more_convs.0.weight"
_PYRAMID = "backbone.fpn."
COUNTS = "class_loss.class_images"
"""Ending of the counts of a federated loss, which detectron2 reads from its data set."""


_RPN = "proposal_generator.rpn_head."
_COARSE, _POINTS = "roi_heads.mask_head.coarse_head.", "roi_heads.mask_head.point_head."
_PREDICTORS = {"class_logits": "cls_score", "box_deltas": "bbox_pred"}


def _norm(number: str | None) -> str:
    """Return where an item is in detectron2's convolution; ours is the first of a pair with its norm, or alone."""
    return "norm." if number == "1" else ""


_PATTERNS: list[tuple[re.Pattern[str], Callable[[re.Match[str]], str]]] = [
    (
        re.compile(r"backbone\.fpn\.(inner|layer)_blocks\.(\d)\.([01])\.(\w+)"),
        lambda m: f"backbone.fpn_{'lateral' if m[1] == 'inner' else 'output'}{int(m[2]) + 2}.{_norm(m[3])}{m[4]}",
    ),
    (re.compile(r"rpn\.head\.more_convs\.(\d)\.(\w+)"), lambda m: f"{_RPN}conv.conv{int(m[1]) + 1}.{m[2]}"),
    (re.compile(r"rpn\.head\.objectness\.(\w+)"), lambda m: f"{_RPN}objectness_logits.{m[1]}"),
    (re.compile(r"rpn\.head\.deltas\.(\w+)"), lambda m: f"{_RPN}anchor_deltas.{m[1]}"),
    (
        re.compile(r"box\.(?:stages\.(\d)\.)?head\.fc([67])\.(\w+)"),
        lambda m: f"roi_heads.box_head.{_stage(m[1])}fc{int(m[2]) - 5}.{m[3]}",
    ),
    (
        re.compile(r"box\.(?:stages\.(\d)\.)?head\.convolutions\.(\d)\.(?:([01])\.)?(\w+)"),
        lambda m: f"roi_heads.box_head.{_stage(m[1])}conv{int(m[2]) + 1}.{_norm(m[3])}{m[4]}",
    ),
    (
        re.compile(r"box\.(?:stages\.(\d)\.)?predictor\.(class_logits|box_deltas)\.(\w+)"),
        lambda m: f"roi_heads.box_predictor.{_stage(m[1])}{_PREDICTORS[m[2]]}.{m[3]}",
    ),
    (
        re.compile(r"mask\.head\.convolutions\.(\d)\.(?:([01])\.)?(\w+)"),
        lambda m: f"roi_heads.mask_head.mask_fcn{int(m[1]) + 1}.{_norm(m[2])}{m[3]}",
    ),
    (
        re.compile(r"keypoint\.head\.convolutions\.(\d)\.(\w+)"),
        lambda m: f"roi_heads.keypoint_head.conv_fcn{int(m[1]) + 1}.{m[2]}",
    ),
    (re.compile(r"keypoint\.head\.deconvolution\.(\w+)"), lambda m: f"roi_heads.keypoint_head.score_lowres.{m[1]}"),
    (re.compile(r"mask\.head\.upsample\.(\w+)"), lambda m: f"roi_heads.mask_head.deconv.{m[1]}"),
    (re.compile(r"mask\.coarse\.reduce\.(\w+)"), lambda m: f"{_COARSE}reduce_spatial_dim_conv.{m[1]}"),
    (re.compile(r"mask\.coarse\.layers\.(\d)\.(\w+)"), lambda m: f"{_COARSE}fc{int(m[1]) + 1}.{m[2]}"),
    (re.compile(r"mask\.coarse\.logits\.(\w+)"), lambda m: f"{_COARSE}prediction.{m[1]}"),
    (re.compile(r"mask\.point_head\.layers\.(\d)\.(\w+)"), lambda m: f"{_POINTS}fc{int(m[1]) + 1}.{m[2]}"),
    (re.compile(r"mask\.point_head\.logits\.(\w+)"), lambda m: f"{_POINTS}predictor.{m[1]}"),
    (re.compile(r"mask\.head\.logits\.(\w+)"), lambda m: f"roi_heads.mask_head.predictor.{m[1]}"),
]


def _stage(number: str | None) -> str:
    return f"{number}." if number else ""


def export(file: WeightFile) -> dict[str, Tensor]:
    """Return our weights as a state dict that detectron2's modules of the same architecture load strictly.

    Args:
        file: weights of one of our detectors on a ResNet.

    Raises:
        InputError: detectron2 has no such detector.
    """
    weights = file.weights
    exported = {}
    for name, value in weights.items():
        if name.endswith(COUNTS):
            continue
        theirs = _their_name(name, any(other.startswith(_PYRAMID) for other in weights), _MORE_RPN_LAYERS in weights)
        if theirs is None:
            raise InputError(
                f"{file.path}: detectron2's layout has no place for {name!r}; it has Faster, Mask, Cascade "
                "and Keypoint R-CNN and PointRend on ResNetFPN, ResNetC4 and ResNetDC5"
            )
        exported[theirs] = value.roll(-1, dims=0) if "predictor.class_logits." in name else value
    return exported


def _their_name(name: str, has_pyramid: bool, has_more_rpn_layers: bool) -> str | None:
    if name.startswith(BODY):
        inner = to_detectron2(name.removeprefix(BODY))
        return inner and f"backbone.{'bottom_up.' if has_pyramid else ''}{inner}"
    if name.startswith(REGION_STAGE):
        inner = to_detectron2(name.replace(REGION_STAGE, "layer4.", 1))
        return inner and f"roi_heads.{inner}"
    if match := re.fullmatch(r"rpn\.head\.conv\.(\w+)", name):
        return f"{_RPN}conv.{'conv0.' if has_more_rpn_layers else ''}{match[1]}"
    return next((rename(match) for pattern, rename in _PATTERNS if (match := pattern.fullmatch(name))), None)
