"""detectron2's Faster, Mask, Cascade and Keypoint R-CNN and PointRend, on a ResNet with C4, dilated C5 or a pyramid.

Those with a pyramid may also be on a RegNet, or on a plain vision transformer (ViTDet).

Differences beside the names: the background is the last class, not the first; images are BGR, 0 to 255; ResNets
halve the resolution in the 1 x 1 convolution of a bottleneck, as He et al. do, ResNeXts in the 3 x 3 one; and the
settings of the profiles below.
"""

import math
import re
from collections.abc import Mapping
from functools import reduce
from pathlib import Path
from typing import Any

from torch import Tensor

from lightning_rcnn.checkpoints import vitdet_names
from lightning_rcnn.checkpoints.coco_classes import USED_IDS, class_hyperparameters
from lightning_rcnn.checkpoints.configs.detectron2_settings import configure
from lightning_rcnn.checkpoints.detectron2_backbones import has_backbone, neck_of, read_backbone
from lightning_rcnn.checkpoints.detectron2_buffers import CELL_ANCHORS, read_anchors, read_pixels
from lightning_rcnn.checkpoints.detectron2_names import (
    CASCADE,
    CLASS_LOGITS,
    COARSE_MASK,
    MASK_LAYER,
    norm_of,
    our_name,
)
from lightning_rcnn.checkpoints.detectron2_profiles import SETTINGS, ProfileName, note_on_profile, profile_of
from lightning_rcnn.checkpoints.detectron2_zoo import unrecorded_settings
from lightning_rcnn.checkpoints.keypoints import keypoint_hyperparameters
from lightning_rcnn.checkpoints.reading import WeightFile
from lightning_rcnn.checkpoints.translation import (
    CONVOLUTIONAL_HEAD,
    RULES_OF_BOXES,
    RULES_OF_POOLER,
    RULES_OF_RPN,
    SMOOTH_L1,
    TWO_LAYER_HEAD,
    USUAL_MASK_LAYERS,
    DetectorName,
    Translation,
    layer_sizes,
    part,
)
from lightning_rcnn.errors import InputError
from lightning_rcnn.plain_data import merge

_LAST_IS_BACKGROUND = "predictor.class_logits."
_BUFFERS = {"pixel_mean": "a setting", "pixel_std": "a setting", CELL_ANCHORS: "settings"}
"""Prefixes of names -> what replaces the weights."""

PROFILE: dict[str, Any] = {
    "preprocessing": {"resize": "pillow"},
    "rpn": {
        "anchors": {"rounding": "exact", "order": "size_major", "stride": "fixed"},
        "ranking": "logit",
        "min_size": 0.0,
        "loss_denominator": "fixed",
        "box_loss": part(SMOOTH_L1, beta=0.0),
        **RULES_OF_RPN,
    },
    "pooler": {"sampling_ratio": 0, "aligned": True, "level_rule": "detectron2", **RULES_OF_POOLER},
    "box": {"box_loss": part(SMOOTH_L1, beta=0.0), "min_size": 0.0, **RULES_OF_BOXES},
}
"""Settings that make our detectors reproduce detectron2's, for every backbone."""
SINGLE_MAP: dict[str, Any] = {
    "preprocessing": {"size_divisor": 1},
    "rpn": {"pre_nms_top_n": [12000, 6000], "post_nms_top_n": [2000, 1000]},
}
PYRAMID: dict[str, Any] = {
    "preprocessing": {"size_divisor": 32},
    "rpn": {"pre_nms_top_n": [2000, 1000], "post_nms_top_n": [1000, 1000]},
}
HEAD: dict[str, Any] = {"box": {"head": part(TWO_LAYER_HEAD)}}
MASKS: dict[str, Any] = {"mask": {"paste": "exact", "target": "polygon"}}
KEYPOINTS: dict[str, Any] = {
    "keypoint": {"score": "probability", "loss_number": "visible"},
    "rpn": {"post_nms_top_n": [1500, 1000]},
    "box": {"box_loss": part(SMOOTH_L1, beta=0.5)},
}
CASCADE_PROFILE: dict[str, Any] = {"rpn": {"post_nms_top_n": [2000, 1000]}}
GIVEN_PROPOSALS: dict[str, Any] = {
    "proposals": {"limit": 1000},
    "box": {"samples_per_image": 512, "lowest_negative_iou": 0.0},
}
"""Settings of Fast R-CNN that differ from its paper's."""
_TITLES: dict[DetectorName, str] = {
    "ProposalNetwork": "RPN",
    "FastRCNN": "Fast R-CNN",
    "FasterRCNN": "Faster R-CNN",
    "MaskRCNN": "Mask R-CNN",
    "CascadeRCNN": "Cascade R-CNN",
    "CascadeMaskRCNN": "Cascade Mask R-CNN",
    "PointRend": "PointRend",
    "KeypointRCNN": "Keypoint R-CNN",
}


def is_detectron2(weights: Mapping[str, Tensor]) -> bool:
    """Tell whether these are the weights of one of detectron2's detectors with an RPN, a box head, or both."""
    return has_backbone(weights) and (_has_rpn(weights) or _class_logits(weights) is not None)


def translate(file: WeightFile, profile: ProfileName | None = None, config: Path | None = None) -> Translation:
    """Translate one of detectron2's detectors.

    Args:
        file: the state dict of the detector; a folder of the model zoo in its path tells the profile.
        profile: settings that differ from the zoo's usual ones; by default those of the file's folder in the zoo.
        config: configuration that the detector was trained with; it says what the weights do not tell.

    Raises:
        InputError: the backbone is none of ours, no settings of ours give its anchors or pixel statistics, or the
            configuration is of another network, or given with a profile.
    """
    if config and profile:
        raise InputError(f"--profile {profile}: {config} has the settings already; leave out --profile")
    translation = _translate(file, profile)
    if config:
        configure(translation, config)
    else:
        translation.notes.append(note_on_profile(profile or profile_of(file.path)))
    return translation


def _translate(file: WeightFile, profile: ProfileName | None) -> Translation:
    """Translate by the weights and the place in the zoo alone."""
    weights, path = file.weights, file.path
    names = {name: ours for name in weights if (ours := our_name(name, weights))}
    dropped = {name: reason for start, reason in _BUFFERS.items() for name in weights if name.startswith(start)}
    renamed_weights = {ours: weights[theirs] for theirs, ours in names.items()}
    changed = {name: "background first" for name in renamed_weights if _LAST_IS_BACKGROUND in name}
    neck, is_jittered = neck_of(weights), _has_two_rpn_layers(weights)
    found = read_backbone(file, renamed_weights, is_jittered)
    profile = profile or profile_of(path)
    pixels, notes = read_pixels(file, found.settings["preprocessing"])
    anchors, note_on_anchors = read_anchors(file, neck)
    detector = _detector(weights)
    translation = Translation(
        f"detectron2's {_TITLES[detector]}, {neck.upper()}",
        path,
        detector,
        reduce(
            merge,
            [
                _profile_for(detector, neck),
                {} if neck == "c4" or detector == "ProposalNetwork" else _box_head(weights),
                _of_detector(detector, weights, renamed_weights),
                found.settings,
                {"rpn": {"num_layers": 2}} if is_jittered else {},
                {"preprocessing": pixels},
                {"rpn": {"anchors": anchors}} if _has_rpn(weights) else {},
                SETTINGS[profile] if profile else {},
                _classes(weights),
                keypoint_hyperparameters(renamed_weights, _num_classes(weights)),
                unrecorded_settings(path),
                layer_sizes(renamed_weights),
            ],
        ),
        renamed_weights | found.made | {name: renamed_weights[name].roll(1, dims=0) for name in changed},
        names,
        changed=changed,
        dropped=dropped,
        unexpected=[name for name in weights if name not in names and name not in dropped],
        made=dict.fromkeys(found.made, found.why_made),
        notes=[*notes, *note_on_anchors],
        foreign={"sem_seg_head": "a semantic head (panoptic segmentation)"},
    )
    if vitdet_names.is_vitdet(weights):
        translation.hyperparameters = vitdet_names.with_layer_norms(translation.hyperparameters)
    return translation


def _has_rpn(weights: Mapping[str, Tensor]) -> bool:
    return "proposal_generator.rpn_head.anchor_deltas.weight" in weights


def _profile_for(detector: DetectorName, neck: str) -> dict[str, Any]:
    """Return the settings of the parts that a detector has."""
    profile = merge(PROFILE, PYRAMID if neck == "fpn" else SINGLE_MAP)
    if detector == "ProposalNetwork":
        return {key: profile[key] for key in ("preprocessing", "rpn")}
    if detector == "FastRCNN":
        return merge({key: profile[key] for key in ("preprocessing", "pooler", "box")}, GIVEN_PROPOSALS)
    return profile


def _classes(weights: Mapping[str, Tensor]) -> dict[str, Any]:
    number = _num_classes(weights)
    return class_hyperparameters(number, USED_IDS) if number else {"class_names": ["object"], "category_ids": None}


def _num_classes(weights: Mapping[str, Tensor]) -> int:
    """Return the number of foreground classes; 0 without any."""
    logits = _class_logits(weights)
    return 0 if logits is None else len(weights[logits]) - 1


def _detector(weights: Mapping[str, Tensor]) -> DetectorName:
    if _class_logits(weights) is None:
        return "ProposalNetwork"
    if not _has_rpn(weights):
        return "FastRCNN"
    if _coarse_mask(weights):
        return "PointRend"
    if "roi_heads.keypoint_head.score_lowres.weight" in weights:
        return "KeypointRCNN"
    has_masks = "roi_heads.mask_head.predictor.weight" in weights
    if CASCADE in weights:
        return "CascadeMaskRCNN" if has_masks else "CascadeRCNN"
    return "MaskRCNN" if has_masks else "FasterRCNN"


def _coarse_mask(weights: Mapping[str, Tensor]) -> str | None:
    return next((name for name in weights if COARSE_MASK.fullmatch(name)), None)


def _point_rend(weights: Mapping[str, Tensor], renamed: Mapping[str, Tensor]) -> dict[str, Any]:
    """Return the sizes of PointRend's heads that follow from several weights, and what its masks train on."""
    inputs, width = renamed["mask.coarse.layers.0.weight"].shape[1], len(renamed["mask.coarse.reduce.weight"])
    num_layers = {
        key: sum(re.fullmatch(rf"mask\.{head}\.layers\.\d\.weight", name) is not None for name in renamed)
        for key, head in (("coarse_layers", "coarse"), ("num_layers", "point_head"))
    }
    sides = {
        "coarse_side": math.isqrt(len(renamed["mask.coarse.logits.weight"]) // _num_classes(weights)),
        "pooled_size": 2 * math.isqrt(inputs // width),
    }
    return {"mask": num_layers | sides, "box": {"passes_on": "predicted"}}


def _of_detector(
    detector: DetectorName, weights: Mapping[str, Tensor], renamed: Mapping[str, Tensor]
) -> dict[str, Any]:
    """Return the settings of the branches that only some detectors have."""
    settings: dict[str, Any] = KEYPOINTS if detector == "KeypointRCNN" else {}
    if detector == "PointRend":
        settings = _point_rend(weights, renamed)
    if detector in ("MaskRCNN", "CascadeMaskRCNN"):
        norm = norm_of("roi_heads.mask_head.mask_fcn1", weights)
        settings = merge(MASKS, {"mask": {"norm": norm}} if norm else {})
        num_layers = sum(MASK_LAYER.fullmatch(name) is not None for name in weights)
        if num_layers not in (0, USUAL_MASK_LAYERS):
            settings["mask"]["num_layers"] = num_layers
    if detector in ("CascadeRCNN", "CascadeMaskRCNN"):
        settings = merge(settings, CASCADE_PROFILE)
    elif detector != "ProposalNetwork" and len(weights["roi_heads.box_predictor.bbox_pred.weight"]) == 4:
        settings = merge(settings, {"box": {"class_agnostic": True}})
    return settings


def _box_head(weights: Mapping[str, Tensor]) -> dict[str, Any]:
    """Return the settings of the box head: two layers, or convolutions and a layer."""
    first = "roi_heads.box_head.0." if CASCADE in weights else "roi_heads.box_head."
    num_layers = sum(
        name.startswith(f"{first}conv") and name.count(".norm.") == 0 for name in weights if "weight" in name
    )
    if not num_layers:
        return HEAD
    norm = norm_of(f"{first}conv1", weights)
    return {"box": {"head": part(CONVOLUTIONAL_HEAD, num_layers=num_layers, norm=norm)}}


def _has_two_rpn_layers(weights: Mapping[str, Tensor]) -> bool:
    """Tell whether the RPN has two convolutions, as in the baselines with large-scale jitter, which freeze nothing."""
    return "proposal_generator.rpn_head.conv.conv1.weight" in weights


def _class_logits(weights: Mapping[str, Tensor]) -> str | None:
    return next((name for name in weights if CLASS_LOGITS.fullmatch(name)), None)
