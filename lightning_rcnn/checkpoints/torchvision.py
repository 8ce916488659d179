"""torchvision's Faster, Mask and Keypoint R-CNN with a pyramid on a ResNet or MobileNet: weights to and from ours.

There are two versions. The first ("V1": `fasterrcnn_resnet50_fpn`, `maskrcnn_resnet50_fpn`,
`keypointrcnn_resnet50_fpn`, and what is built on `resnet_fpn_backbone`) has convolutions with a bias; the second ("V2":
`..._v2`) has two convolutions in the RPN, a box head of four convolutions, and a live batch norm after each convolution
of pyramid and heads. Files from before torchvision 0.13 have other names for three parts of V1.

Both count 91 classes on COCO: background, and the ids 1 to 90, of which ten are unused.
"""

import re
from collections.abc import Iterator, Mapping
from functools import reduce
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lightning_rcnn.checkpoints.coco_classes import ALL_IDS, class_hyperparameters
from lightning_rcnn.checkpoints.keypoints import DECONVOLUTION, keypoint_hyperparameters
from lightning_rcnn.checkpoints.reading import WeightFile
from lightning_rcnn.checkpoints.residual_shapes import architecture
from lightning_rcnn.checkpoints.translation import (
    CONVOLUTIONAL_HEAD,
    MOBILENET_FPN,
    RESNET_FPN,
    RULES_OF_BOXES,
    RULES_OF_POOLER,
    RULES_OF_RPN,
    SMOOTH_L1,
    TWO_LAYER_HEAD,
    DetectorName,
    Translation,
    layer_sizes,
    part,
    renamed,
)
from lightning_rcnn.errors import InputError
from lightning_rcnn.plain_data import CLASS_PATH, INIT_ARGS, merge

_BODY = "backbone.body."
_CLASS_LOGITS = "roi_heads.box_predictor.cls_score.weight"
_MOBILENET = "0.0.weight"
"""First weight of the body of a MobileNet."""
_FIRST_OF_V2 = "roi_heads.box_head.0.0.weight"

_COMMON = (
    (_BODY, _BODY),
    ("backbone.fpn.", "backbone.fpn."),
    ("rpn.head.conv.0.0.", "rpn.head.conv."),
    ("rpn.head.conv.1.0.", "rpn.head.more_convs.0."),
    ("rpn.head.cls_logits.", "rpn.head.objectness."),
    ("rpn.head.bbox_pred.", "rpn.head.deltas."),
    ("roi_heads.box_predictor.cls_score.", "box.predictor.class_logits."),
    ("roi_heads.box_predictor.bbox_pred.", "box.predictor.box_deltas."),
    ("roi_heads.mask_predictor.conv5_mask.", "mask.head.upsample."),
    ("roi_heads.mask_predictor.mask_fcn_logits.", "mask.head.logits."),
)
_V1 = (
    *_COMMON,
    ("roi_heads.box_head.fc6.", "box.head.fc6."),
    ("roi_heads.box_head.fc7.", "box.head.fc7."),
    *((f"roi_heads.mask_head.{layer}.0.", f"mask.head.convolutions.{layer}.") for layer in range(4)),
    *((f"roi_heads.keypoint_head.{2 * layer}.", f"keypoint.head.convolutions.{layer}.") for layer in range(8)),
    ("roi_heads.keypoint_predictor.kps_score_lowres.", "keypoint.head.deconvolution."),
)
_V2 = (
    *_COMMON,
    ("roi_heads.box_head.5.", "box.head.fc6."),
    *((f"roi_heads.box_head.{layer}.", f"box.head.convolutions.{layer}.") for layer in range(4)),
    *((f"roi_heads.mask_head.{layer}.", f"mask.head.convolutions.{layer}.") for layer in range(4)),
)
"""Prefixes of their names and of ours."""
_OLD_NAMES = (
    (re.compile(r"(backbone\.fpn\.(?:inner|layer)_blocks\.\d)\.(weight|bias)"), r"\1.0.\2"),
    (re.compile(r"rpn\.head\.conv\.(weight|bias)"), r"rpn.head.conv.0.0.\1"),
    *(
        (re.compile(rf"roi_heads\.mask_head\.mask_fcn{layer + 1}\.(weight|bias)"), rf"roi_heads.mask_head.{layer}.0.\1")
        for layer in range(4)
    ),
)
_BACKGROUND_ROWS = {
    "box.predictor.box_deltas.weight": 4,
    "box.predictor.box_deltas.bias": 4,
    "mask.head.logits.weight": 1,
    "mask.head.logits.bias": 1,
}
"""Background rows to drop: torchvision predicts a box and a mask for the background, we do not."""

PROFILE: dict[str, Any] = {
    "preprocessing": {
        "resize": "bilinear",
        "size_divisor": 32,
        "pixel_range": 1.0,
        "channel_order": "rgb",
        "pixel_mean": [0.485, 0.456, 0.406],
        "pixel_std": [0.229, 0.224, 0.225],
    },
    "backbone": part(RESNET_FPN, stride_in_1x1=False, frozen_stages=2),
    "rpn": {
        "anchors": {"rounding": "rounded", "order": "ratio_major", "stride": "image_ratio"},
        "pre_nms_top_n": [2000, 1000],
        "post_nms_top_n": [2000, 1000],
        "ranking": "probability",
        "min_size": 1e-3,
        "loss_denominator": "sampled",
        "box_loss": part(SMOOTH_L1, beta=1 / 9),
        **RULES_OF_RPN,
    },
    "pooler": {"sampling_ratio": 2, "aligned": False, "level_rule": "torchvision", **RULES_OF_POOLER},
    "box": {"box_loss": part(SMOOTH_L1, beta=1 / 9), "min_size": 1e-2, **RULES_OF_BOXES},
}
"""Settings that make our detectors reproduce theirs, our defaults included, so that a file does not depend on them."""
MASKS: dict[str, Any] = {"mask": {"paste": "integer", "target": "soft"}}
KEYPOINTS: dict[str, Any] = {"keypoint": {"score": "logit", "loss_number": "visible"}}
FIRST_VERSION: dict[str, Any] = {"box": {"head": part(TWO_LAYER_HEAD)}}
SECOND_VERSION: dict[str, Any] = {
    "backbone": {"init_args": {"fpn_norm": "batch_norm"}},
    "rpn": {"num_layers": 2},
    "box": {"head": part(CONVOLUTIONAL_HEAD, num_layers=4, norm="batch_norm")},
}
MASKS_OF_SECOND_VERSION: dict[str, Any] = {"mask": {"norm": "batch_norm"}}
FOR_SMALL_IMAGES: dict[str, Any] = {
    "preprocessing": {"min_size": 320, "max_size": 640},
    "rpn": {"pre_nms_top_n": [2000, 150], "post_nms_top_n": [2000, 150]},
}
"""Settings of `fasterrcnn_mobilenet_v3_large_320_fpn`."""
_NOTE_ON_SIZE = (
    "Taken for fasterrcnn_mobilenet_v3_large_fpn; of the one for small images, keep `_320_` in the name of the file."
)
_ONLY_IN_TRAINING = (
    *("frozen_stages", "loss_number", "loss_denominator", "box_loss", "crowd_ioa", "passes_on"),
    *("low_quality_iou", "low_quality_target", "padding_divisor", "cross_boundary_anchors"),
)
_NOTE_ON_EPSILON = (
    "Its norms are frozen, with an epsilon of 0 as in torchvision's COCO files and what was trained from these; if it "
    "was trained from ImageNet weights, add --set backbone.norm_epsilon=1e-5."
)


def is_torchvision(weights: Mapping[str, Tensor]) -> bool:
    """Tell whether these are the weights of one of torchvision's detectors with a box head."""
    return _CLASS_LOGITS in weights and any(f"{_BODY}{first}" in weights for first in ("conv1.weight", _MOBILENET))


def translate(file: WeightFile) -> Translation:
    """Translate one of torchvision's detectors.

    Args:
        file: the state dict of the detector.

    Raises:
        InputError: the backbone is none of ours.
    """
    weights = file.weights
    current = {name: _current_name(name) for name in weights}
    is_second = _FIRST_OF_V2 in current.values()
    names = {name: ours for name in weights if (ours := renamed(current[name], _V2 if is_second else _V1))}
    renamed_weights = {ours: weights[theirs] for theirs, ours in names.items()}
    changed = dict.fromkeys(_BACKGROUND_ROWS.keys() & renamed_weights.keys(), "without the background")
    body = {name.removeprefix(_BODY): renamed_weights[name] for name in renamed_weights if name.startswith(_BODY)}
    is_live = any(name.endswith("num_batches_tracked") for name in body)
    is_mobile = _MOBILENET in body
    has_masks = "mask.head.logits.weight" in renamed_weights
    has_keypoints = DECONVOLUTION in renamed_weights
    detector: DetectorName = "KeypointRCNN" if has_keypoints else "MaskRCNN" if has_masks else "FasterRCNN"
    num_classes = len(weights[_CLASS_LOGITS]) - 1
    return Translation(
        f"torchvision's {detector.removesuffix('RCNN')} R-CNN, version {2 if is_second else 1}",
        file.path,
        detector,
        reduce(
            merge,
            [
                PROFILE if not is_mobile else mobilenet_profile(file.path, body, is_live),
                SECOND_VERSION if is_second else FIRST_VERSION,
                {} if is_mobile else _resnet(WeightFile(file.path, body), is_live, is_second),
                MASKS if has_masks else {},
                MASKS_OF_SECOND_VERSION if has_masks and is_second else {},
                KEYPOINTS if has_keypoints else {},
                class_hyperparameters(num_classes, ALL_IDS),
                keypoint_hyperparameters(renamed_weights, num_classes),
                layer_sizes(renamed_weights),
            ],
        ),
        renamed_weights | {name: renamed_weights[name][_BACKGROUND_ROWS[name] :] for name in changed},
        names,
        changed=changed,
        unexpected=[name for name in weights if name not in names],
        notes=_notes(file.path, is_mobile, is_live or is_second),
    )


def export(file: WeightFile) -> dict[str, Tensor]:
    """Return our weights as a state dict that torchvision's module of the same architecture loads strictly.

    Boxes and masks of the background, which torchvision predicts and never uses, are zeros.

    Args:
        file: weights of one of our detectors with a feature pyramid.

    Raises:
        InputError: torchvision has no such detector.
    """
    is_second = "box.head.convolutions.0.0.weight" in file.weights
    exported = {}
    for name, value in file.weights.items():
        theirs = renamed(name, [(ours, theirs) for theirs, ours in (_V2 if is_second else _V1)])
        if theirs is None:
            raise InputError(
                f"{file.path}: torchvision's detectors have no place for {name!r}; they have a ResNetFPN, at most two "
                "RPN layers, and norms after the convolutions of pyramid and heads either everywhere or nowhere"
            )
        if name in _BACKGROUND_ROWS:
            value = torch.cat((value.new_zeros((_BACKGROUND_ROWS[name], *value.shape[1:])), value))
        exported[theirs] = value
    return exported


def other_conventions(hyperparameters: Mapping[str, Any]) -> list[str]:
    """Describe where our detector differs from torchvision's with the same weights.

    Args:
        hyperparameters: all settings of our detector.
    """
    branches = {"mask": MASKS, "keypoint": KEYPOINTS}
    theirs = reduce(merge, [PROFILE, *(settings for name, settings in branches.items() if name in hyperparameters)])
    return list(_differences(hyperparameters, theirs, ""))


def _differences(ours: Any, theirs: Any, key: str) -> Iterator[str]:
    if isinstance(theirs, dict):
        values = ours.get(INIT_ARGS, ours) if INIT_ARGS not in theirs else ours
        for name, value in theirs.items():
            if name not in (CLASS_PATH, *_ONLY_IN_TRAINING) and name in values:
                yield from _differences(values[name], value, f"{key}.{name}".strip(".").replace(f".{INIT_ARGS}", ""))
    elif ours != theirs:
        yield f"{key} {ours} ({theirs} there)"


def _resnet(body: WeightFile, is_live: bool, is_second: bool) -> dict[str, Any]:
    arguments = {
        "name": architecture(body),
        "norm": "batch_norm" if is_live else "frozen_batch_norm",
        # Their first COCO detectors, and what was trained from these, divide by the deviation alone.
        "norm_epsilon": 1e-5 if is_live or is_second else 0.0,
    }
    return {"backbone": {INIT_ARGS: arguments}}


def mobilenet_profile(path: Path, body: Mapping[str, Tensor], is_live: bool) -> dict[str, Any]:
    """Return the settings of the Faster R-CNNs on a MobileNet; the name of the file tells the one for small images.

    Args:
        path: the file.
        body: weights of the MobileNet.
        is_live: whether its norms train.
    """
    backbone = part(
        MOBILENET_FPN,
        name="mobilenet_v3_large" if "16.0.weight" in body else "mobilenet_v3_small",
        norm="batch_norm" if is_live else "frozen_batch_norm",
        norm_epsilon=1e-5,
        frozen_stages=3,
    )
    profile = {key: value for key, value in PROFILE.items() if key != "backbone"} | {"backbone": backbone}
    profile = merge(profile, {"rpn": {"score_threshold": 0.05, "anchors": {"levels": "all_sizes"}}})
    return merge(profile, FOR_SMALL_IMAGES if _is_for_small_images(path) else {})


def _is_for_small_images(path: Path) -> bool:
    return "_320_" in path.name


def _notes(path: Path, is_mobile: bool, is_known: bool) -> list[str]:
    if is_mobile:
        return [] if _is_for_small_images(path) else [_NOTE_ON_SIZE]
    return [] if is_known else [_NOTE_ON_EPSILON]


def _current_name(name: str) -> str:
    for old, new in _OLD_NAMES:
        if old.fullmatch(name):
            return old.sub(new, name)
    return name
