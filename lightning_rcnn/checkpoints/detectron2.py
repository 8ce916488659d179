"""detectron2's Faster and Mask R-CNN of its model zoo: ResNet or ResNeXt, with C4, dilated C5 or a feature pyramid.

Differences beside the names: the background is the last class, not the first; images are BGR, 0 to 255; ResNets
halve the resolution in the 1 x 1 convolution of a bottleneck, as He et al. do, ResNeXts in the 3 x 3 one; and the
settings of the profiles below.
"""

from collections.abc import Mapping
from functools import reduce
from pathlib import Path
from typing import Any, Literal

from torch import Tensor

from lightning_rcnn.checkpoints.coco_classes import USED_IDS, class_hyperparameters
from lightning_rcnn.checkpoints.detectron2_buffers import CELL_ANCHORS, read_anchors, read_pixels
from lightning_rcnn.checkpoints.reading import WeightFile
from lightning_rcnn.checkpoints.residual_names import from_detectron2
from lightning_rcnn.checkpoints.residual_norms import STATISTICS_MADE, statistics_left_out
from lightning_rcnn.checkpoints.residual_shapes import BASIC_RESNETS, architecture
from lightning_rcnn.checkpoints.translation import (
    RESNET_C4,
    RESNET_DC5,
    RESNET_FPN,
    TWO_LAYER_HEAD,
    DetectorName,
    Translation,
    flat_settings,
    layer_sizes,
    part,
    renamed,
)
from lightning_rcnn.plain_data import INIT_ARGS, merge

_CLASS_LOGITS = "roi_heads.box_predictor.cls_score.weight"
_NAMES = (
    ("proposal_generator.rpn_head.conv.", "rpn.head.conv."),
    ("proposal_generator.rpn_head.objectness_logits.", "rpn.head.objectness."),
    ("proposal_generator.rpn_head.anchor_deltas.", "rpn.head.deltas."),
    ("roi_heads.box_head.fc1.", "box.head.fc6."),
    ("roi_heads.box_head.fc2.", "box.head.fc7."),
    ("roi_heads.box_predictor.cls_score.", "box.predictor.class_logits."),
    ("roi_heads.box_predictor.bbox_pred.", "box.predictor.box_deltas."),
    *((f"roi_heads.mask_head.mask_fcn{layer + 1}.", f"mask.head.convolutions.{layer}.") for layer in range(4)),
    ("roi_heads.mask_head.deconv.", "mask.head.upsample."),
    ("roi_heads.mask_head.predictor.", "mask.head.logits."),
    *((f"backbone.fpn_lateral{level + 2}.", f"backbone.fpn.inner_blocks.{level}.0.") for level in range(4)),
    *((f"backbone.fpn_output{level + 2}.", f"backbone.fpn.layer_blocks.{level}.0.") for level in range(4)),
)
"""Prefixes of their names and of ours."""
_BODY, _REGION_STAGE = "backbone.body.", "pooler.stage."
_LAST_IS_BACKGROUND = "box.predictor.class_logits."
_BUFFERS = {"pixel_mean": "a setting", "pixel_std": "a setting", CELL_ANCHORS: "settings"}
"""Prefixes of names -> what replaces the weights."""

PROFILE: dict[str, Any] = {
    "preprocessing": {"resize": "pillow"},
    "rpn": {
        "anchors": {"rounding": "exact", "order": "size_major", "stride": "fixed"},
        "ranking": "logit",
        "min_size": 0.0,
        "loss_denominator": "fixed",
        "box_loss_beta": 0.0,
        "crowd_ioa": None,
    },
    "pooler": {"sampling_ratio": 0, "aligned": True, "level_rule": "detectron2"},
    "box": {"loss_beta": 0.0, "min_size": 0.0, "crowd_ioa": None},
}
"""Settings that make our detectors reproduce detectron2's, for every backbone."""
PIXELS: dict[str, Any] = {"pixel_range": 255.0, "channel_order": "bgr", "pixel_mean": [103.53, 116.28, 123.675]}
SINGLE_MAP: dict[str, Any] = {
    "preprocessing": {"size_divisor": 1},
    "rpn": {"pre_nms_top_n": [12000, 6000], "post_nms_top_n": [2000, 1000]},
}
PYRAMID: dict[str, Any] = {
    "preprocessing": {"size_divisor": 32},
    "rpn": {"pre_nms_top_n": [2000, 1000], "post_nms_top_n": [1000, 1000]},
}
ProfileName = Literal["detectron1", "lvis", "cityscapes"]
SETTINGS: dict[ProfileName, dict[str, Any]] = {
    "detectron1": {
        "rpn": {"box_loss_beta": 0.1111},
        "pooler": {"sampling_ratio": 2, "aligned": False},
        "box": {"loss_beta": 1.0},
    },
    "lvis": {"box": {"score_threshold": 1e-4, "detections_per_image": 300}},
    "cityscapes": {"preprocessing": {"min_size": 1024, "max_size": 2048}},
}
"""Settings of its Detectron1-Comparisons, LVIS... and Cityscapes configurations; their weights have the usual names."""
_FOLDERS: dict[str, ProfileName] = {"Detectron1-": "detectron1", "LVIS": "lvis", "Cityscapes": "cityscapes"}
"""Prefixes of the model zoo's folders."""
HEAD: dict[str, Any] = {"box": {"head": part(TWO_LAYER_HEAD)}}
MASKS: dict[str, Any] = {"mask": {"paste": "exact", "target": "polygon"}}
_BACKBONES = {"fpn": RESNET_FPN, "c4": RESNET_C4, "dc5": RESNET_DC5}


def is_detectron2(weights: Mapping[str, Tensor]) -> bool:
    """Tell whether these are the weights of one of detectron2's detectors with a box head."""
    return "proposal_generator.rpn_head.conv.weight" in weights and _CLASS_LOGITS in weights


def translate(file: WeightFile, profile: ProfileName | None = None) -> Translation:
    """Translate one of detectron2's detectors.

    Args:
        file: the state dict of the detector; a folder of the model zoo in its path tells the profile.
        profile: settings that differ from the zoo's usual ones; by default those of the file's folder in the zoo.

    Raises:
        InputError: the backbone is none of ours, or no settings of ours give its anchors or pixel statistics.
    """
    weights, path = file.weights, file.path
    names = {name: ours for name in weights if (ours := _our_name(name))}
    dropped = {name: reason for start, reason in _BUFFERS.items() for name in weights if name.startswith(start)}
    renamed_weights = {ours: weights[theirs] for theirs, ours in names.items()}
    made = statistics_left_out(renamed_weights)
    changed = {name: "background first" for name in renamed_weights if name.startswith(_LAST_IS_BACKGROUND)}
    body = {
        name.replace(_REGION_STAGE, f"{_BODY}layer4.").removeprefix(_BODY): renamed_weights[name]
        for name in renamed_weights
    }
    backbone, neck = architecture(WeightFile(path, body)), _neck(weights)
    has_masks = "mask.head.logits.weight" in renamed_weights
    profile = profile or next((name for start, name in _FOLDERS.items() if _is_below(path, start)), None)
    usual = input_of(backbone)
    pixels, notes = read_pixels(file, usual["preprocessing"])
    anchors, note_on_anchors = read_anchors(file, neck)
    detector: DetectorName = "MaskRCNN" if has_masks else "FasterRCNN"
    return Translation(
        f"detectron2's {'Mask' if has_masks else 'Faster'} R-CNN, {neck.upper()}",
        path,
        detector,
        reduce(
            merge,
            [
                PROFILE,
                PYRAMID if neck == "fpn" else SINGLE_MAP,
                {} if neck == "c4" else HEAD,
                MASKS if has_masks else {},
                {
                    "backbone": part(
                        _BACKBONES[neck], name=backbone, norm="frozen_batch_norm", norm_epsilon=1e-5, frozen_stages=2
                    )
                },
                usual,
                {"preprocessing": pixels},
                {"rpn": {"anchors": anchors}},
                SETTINGS[profile] if profile else {},
                class_hyperparameters(len(weights[_CLASS_LOGITS]) - 1, USED_IDS),
                layer_sizes(renamed_weights),
            ],
        ),
        renamed_weights | made | {name: renamed_weights[name].roll(1, dims=0) for name in changed},
        names,
        changed=changed,
        dropped=dropped,
        unexpected=[name for name in weights if name not in names and name not in dropped],
        made=dict.fromkeys(made, STATISTICS_MADE),
        notes=[*notes, *note_on_anchors, _note_on_profile(profile)],
    )


def input_of(backbone: str) -> dict[str, Any]:
    """Return the settings that a backbone trained for detectron2 expects: pixels and strides.

    Args:
        backbone: our name of the backbone.
    """
    is_resnext = backbone.startswith("resnext")
    pixel_std = [57.375, 57.12, 58.395] if is_resnext else [1.0, 1.0, 1.0]
    has_stride_in_1x1 = not is_resnext and backbone not in BASIC_RESNETS
    return {
        "preprocessing": {**PIXELS, "pixel_std": pixel_std},
        "backbone": {INIT_ARGS: {"stride_in_1x1": has_stride_in_1x1}},
    }


def _is_below(path: Path, start: str) -> bool:
    return any(folder.startswith(start) for folder in path.parts[:-1])


def _note_on_profile(profile: ProfileName | None) -> str:
    if profile:
        listed = ", ".join(f"{key} {value}" for key, value in flat_settings(SETTINGS[profile]))
        return f"Profile {profile}: {listed}."
    return (
        "The file does not record its settings; for a model of Detectron1-Comparisons, LVIS or "
        f"Cityscapes add --profile {'|'.join(SETTINGS)}."
    )


def _neck(weights: Mapping[str, Tensor]) -> str:
    if "backbone.fpn_lateral2.weight" in weights:
        return "fpn"
    return "c4" if any(name.startswith("roi_heads.res5.") for name in weights) else "dc5"


def _our_name(name: str) -> str | None:
    """Return our name of a weight; with C4, the last stage of the ResNet belongs to the head."""
    if name.startswith("roi_heads.res5."):
        inner = from_detectron2(name.removeprefix("roi_heads."))
        return inner and inner.replace("layer4.", _REGION_STAGE, 1)
    for prefix in ("backbone.bottom_up.", "backbone."):
        if name.startswith(prefix) and (inner := from_detectron2(name.removeprefix(prefix))):
            return f"{_BODY}{inner}"
    return renamed(name, _NAMES)
