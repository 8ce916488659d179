"""torchvision's Faster and Mask R-CNN with a feature pyramid: their state dicts, to and from ours.

There are two versions. The first ("V1": `fasterrcnn_resnet50_fpn`, `maskrcnn_resnet50_fpn`, and what is built on
`resnet_fpn_backbone`) has convolutions with a bias; the second ("V2": `..._v2`) has two convolutions in the RPN, a box
head of four convolutions, and a live batch norm after each convolution of pyramid and heads. Files from before
torchvision 0.13 have other names for three parts of V1.

Both count 91 classes on COCO: background, and the ids 1 to 90, of which ten are unused.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lightning_rcnn.checkpoints.coco_classes import ALL_IDS, names_of
from lightning_rcnn.checkpoints.residual_shapes import architecture
from lightning_rcnn.checkpoints.translation import DetectorName, Translation, generic_class_names, renamed
from lightning_rcnn.errors import InputError

_BODY = "backbone.body."
_CLASS_LOGITS = "roi_heads.box_predictor.cls_score.weight"
_MASK_LOGITS = "roi_heads.mask_predictor.mask_fcn_logits.weight"

_COMMON = (
    (_BODY, _BODY),
    ("backbone.fpn.", "backbone.fpn."),
    ("rpn.head.conv.0.0.", "rpn.conv."),
    ("rpn.head.conv.1.0.", "rpn.more_convs.0."),
    ("rpn.head.cls_logits.", "rpn.objectness."),
    ("rpn.head.bbox_pred.", "rpn.deltas."),
    ("roi_heads.box_predictor.cls_score.", "box_predictor.class_logits."),
    ("roi_heads.box_predictor.bbox_pred.", "box_predictor.box_deltas."),
    ("roi_heads.mask_predictor.conv5_mask.", "mask_head.upsample."),
    ("roi_heads.mask_predictor.mask_fcn_logits.", "mask_head.logits."),
)
_V1 = (
    *_COMMON,
    ("roi_heads.box_head.fc6.", "box_head.fc6."),
    ("roi_heads.box_head.fc7.", "box_head.fc7."),
    *((f"roi_heads.mask_head.{layer}.0.", f"mask_head.convolutions.{layer}.") for layer in range(4)),
)
_V2 = (
    *_COMMON,
    ("roi_heads.box_head.5.", "box_head.fc6."),
    *((f"roi_heads.box_head.{layer}.", f"box_head.convolutions.{layer}.") for layer in range(4)),
    *((f"roi_heads.mask_head.{layer}.", f"mask_head.convolutions.{layer}.") for layer in range(4)),
)
"""Beginnings of their names and of ours."""
_OLD_NAMES = (
    (re.compile(r"(backbone\.fpn\.(?:inner|layer)_blocks\.\d)\.(weight|bias)"), r"\1.0.\2"),
    (re.compile(r"rpn\.head\.conv\.(weight|bias)"), r"rpn.head.conv.0.0.\1"),
    *(
        (re.compile(rf"roi_heads\.mask_head\.mask_fcn{layer + 1}\.(weight|bias)"), rf"roi_heads.mask_head.{layer}.0.\1")
        for layer in range(4)
    ),
)
_BACKGROUND_ROWS = {
    "box_predictor.box_deltas.weight": 4,
    "box_predictor.box_deltas.bias": 4,
    "mask_head.logits.weight": 1,
    "mask_head.logits.bias": 1,
}
"""Rows for the background that their layers have and ours, in which it has neither box nor mask, have not."""

PROFILE: dict[str, Any] = {
    "resize": "bilinear",
    "anchor_rounding": "rounded",
    "anchor_order": "ratio_major",
    "anchor_stride": "image_ratio",
    "rpn_ranking": "probability",
    "roi_sampling_ratio": 2,
    "roi_aligned": False,
    "roi_level_rule": "torchvision",
    "frozen_stages": 2,
}
"""What makes our detectors work as theirs do, as far as it is not our default anyway."""


def is_torchvision(weights: Mapping[str, Tensor]) -> bool:
    """Whether these are the weights of one of torchvision's detectors with a box head."""
    return f"{_BODY}conv1.weight" in weights and _CLASS_LOGITS in weights


def translate(weights: Mapping[str, Tensor], path: Path) -> Translation:
    """One of torchvision's detectors in our words.

    Args:
        weights: the state dict.
        path: of the file, for messages.

    Raises:
        InputError: a backbone that we don't have.
    """
    current = {_current_name(name): name for name in weights}
    is_second = "roi_heads.box_head.0.0.weight" in current
    body = {name.removeprefix(_BODY): weights[name] for name in weights if name.startswith(_BODY)}
    has_masks = _MASK_LOGITS in weights
    detector: DetectorName = "MaskRCNN" if has_masks else "FasterRCNN"
    number = len(weights[_CLASS_LOGITS]) - 1
    is_live = any(name.endswith("num_batches_tracked") for name in body)
    is_coco = number == len(ALL_IDS)
    hyperparameters = {
        **PROFILE,
        "class_names": names_of(ALL_IDS) if is_coco else generic_class_names(number),
        "category_ids": ALL_IDS if is_coco else None,
        "backbone": architecture(body, path),
        "norm": "batch_norm" if is_live else "frozen_batch_norm",
        # Their first COCO detectors, and what was trained from these, divide by the deviation alone.
        "norm_epsilon": 1e-5 if is_live else 0.0,
        **({"mask_paste": "integer", "mask_target": "soft"} if has_masks else {}),
        **_widths(weights, current, is_second),
    }
    translation = Translation(
        f"torchvision's {'Mask' if has_masks else 'Faster'} R-CNN, version {2 if is_second else 1}",
        path,
        detector,
        hyperparameters,
        weights={},
        names={},
    )
    for name, original in current.items():
        ours = renamed(name, _V2 if is_second else _V1)
        if ours is None:
            translation.unexpected.append(original)
        else:
            translation.names[original] = ours
            translation.weights[ours] = weights[original]
    for name in _BACKGROUND_ROWS.keys() & translation.weights.keys():
        translation.weights[name] = translation.weights[name][_BACKGROUND_ROWS[name] :]
        translation.changed[name] = "without the background"
    return translation


def export(weights: Mapping[str, Tensor], path: Path) -> dict[str, Tensor]:
    """Our weights as a state dict that torchvision's module of the same architecture loads strictly.

    The boxes and masks of the background, which torchvision has and never looks at, are zeros.

    Args:
        weights: of a detector with a feature pyramid.
        path: of the file, for messages.

    Raises:
        InputError: torchvision has no such detector.
    """
    is_second = "box_head.convolutions.0.0.weight" in weights
    exported = {}
    for name, value in weights.items():
        theirs = renamed(name, [(ours, theirs) for theirs, ours in (_V2 if is_second else _V1)])
        if theirs is None:
            raise InputError(
                f"{path}: torchvision's detectors have no place for {name!r}; they have neck fpn, at most two RPN "
                "layers, and norms after the convolutions of pyramid and heads either everywhere or nowhere"
            )
        if name in _BACKGROUND_ROWS:
            value = torch.cat((value.new_zeros((_BACKGROUND_ROWS[name], *value.shape[1:])), value))
        exported[theirs] = value
    return exported


def _current_name(name: str) -> str:
    for old, new in _OLD_NAMES:
        if old.fullmatch(name):
            return old.sub(new, name)
    return name


def _widths(weights: Mapping[str, Tensor], current: Mapping[str, str], is_second: bool) -> dict[str, Any]:
    """Sizes of layers, where they are not the usual ones."""

    def rows(name: str) -> int | None:
        return len(weights[current[name]]) if name in current else None

    found: dict[str, Any] = {
        "fpn_channels": rows("backbone.fpn.inner_blocks.0.0.weight"),
        "box_head_width": rows("roi_heads.box_head.5.weight" if is_second else "roi_heads.box_head.fc6.weight"),
        "mask_head_width": rows("roi_heads.mask_head.0.0.weight"),
    }
    if is_second:
        found |= {
            "fpn_norm": "batch_norm",
            "head_norm": "batch_norm",
            "rpn_layers": 2,
            "box_head_convolutions": 4,
            "box_head_channels": rows("roi_heads.box_head.0.0.weight"),
        }
    return {key: value for key, value in found.items() if value is not None}
