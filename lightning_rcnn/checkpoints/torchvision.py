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

from lightning_rcnn.checkpoints.coco_classes import ALL_IDS, class_hyperparameters
from lightning_rcnn.checkpoints.residual_shapes import architecture
from lightning_rcnn.checkpoints.translation import DetectorName, Translation, layer_sizes, renamed
from lightning_rcnn.errors import InputError

_BODY = "backbone.body."
_CLASS_LOGITS = "roi_heads.box_predictor.cls_score.weight"
_FIRST_OF_V2 = "roi_heads.box_head.0.0.weight"

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
    "size_divisor": 32,
    "pixel_range": 1.0,
    "channel_order": "rgb",
    "pixel_mean": [0.485, 0.456, 0.406],
    "pixel_std": [0.229, 0.224, 0.225],
    "stride_in_1x1": False,
    "frozen_stages": 2,
    "neck": "fpn",
    "anchor_rounding": "rounded",
    "anchor_order": "ratio_major",
    "anchor_stride": "image_ratio",
    "rpn_pre_nms_top_n": [2000, 1000],
    "rpn_post_nms_top_n": [2000, 1000],
    "rpn_ranking": "probability",
    "rpn_min_size": 1e-3,
    "rpn_loss_denominator": "sampled",
    "rpn_box_loss_beta": 1 / 9,
    "roi_sampling_ratio": 2,
    "roi_aligned": False,
    "roi_level_rule": "torchvision",
    "box_loss_beta": 1 / 9,
    "detection_min_size": 1e-2,
    "crowd_share": None,
}
"""What makes our detectors work as theirs do, our defaults included: a profile says all that a file rests on."""
MASKS: dict[str, Any] = {"mask_paste": "integer", "mask_target": "soft"}
SECOND_VERSION: dict[str, Any] = {
    "fpn_norm": "batch_norm",
    "head_norm": "batch_norm",
    "rpn_layers": 2,
    "box_head_convolutions": 4,
}
_ONLY_IN_TRAINING = ("frozen_stages", "rpn_loss_denominator", "rpn_box_loss_beta", "box_loss_beta", "crowd_share")
_NOTE_ON_EPSILON = (
    "Its norms are frozen, with an epsilon of 0 as in torchvision's COCO files and what was trained from these; if it "
    "was trained from ImageNet weights, add --set norm_epsilon=1e-5."
)


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
    current = {name: _current_name(name) for name in weights}
    is_second = _FIRST_OF_V2 in current.values()
    names = {name: ours for name in weights if (ours := renamed(current[name], _V2 if is_second else _V1))}
    found = {ours: weights[theirs] for theirs, ours in names.items()}
    changed = dict.fromkeys(_BACKGROUND_ROWS.keys() & found.keys(), "without the background")
    body = {name.removeprefix(_BODY): found[name] for name in found if name.startswith(_BODY)}
    is_live = any(name.endswith("num_batches_tracked") for name in body)
    has_masks = "mask_head.logits.weight" in found
    detector: DetectorName = "MaskRCNN" if has_masks else "FasterRCNN"
    return Translation(
        f"torchvision's {'Mask' if has_masks else 'Faster'} R-CNN, version {2 if is_second else 1}",
        path,
        detector,
        {
            **PROFILE,
            "norm": "batch_norm" if is_live else "frozen_batch_norm",
            # Their first COCO detectors, and what was trained from these, divide by the deviation alone.
            "norm_epsilon": 1e-5 if is_live or is_second else 0.0,
            **(MASKS if has_masks else {}),
            **class_hyperparameters(len(weights[_CLASS_LOGITS]) - 1, ALL_IDS),
            "backbone": architecture(body, path),
            **(SECOND_VERSION if is_second else {}),
            **layer_sizes(found),
        },
        found | {name: found[name][_BACKGROUND_ROWS[name] :] for name in changed},
        names,
        changed=changed,
        unexpected=[name for name in weights if name not in names],
        notes=[] if is_live or is_second else [_NOTE_ON_EPSILON],
    )


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


def other_conventions(hyperparameters: Mapping[str, Any]) -> list[str]:
    """What a detector of ours does otherwise than torchvision's with the same weights would, in words.

    Args:
        hyperparameters: all that it was made with.
    """
    theirs = {key: value for key, value in (PROFILE | MASKS).items() if key not in _ONLY_IN_TRAINING}
    given = {key: hyperparameters[key] for key in theirs.keys() & hyperparameters.keys()}
    given = {key: list(value) if isinstance(value, tuple) else value for key, value in given.items()}
    return [f"{key} {given[key]} ({theirs[key]} there)" for key in theirs if key in given and given[key] != theirs[key]]


def _current_name(name: str) -> str:
    for old, new in _OLD_NAMES:
        if old.fullmatch(name):
            return old.sub(new, name)
    return name
