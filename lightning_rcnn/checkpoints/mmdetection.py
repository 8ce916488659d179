"""mmdetection's Faster, Mask and Cascade R-CNN (2.x and 3.x) on a ResNet, ResNeXt or Swin Transformer.

Differences beside the names: the background is the last class, not the first; deltas are divided by deviations where
ours are multiplied by weights, their inverse; a region is pooled from the finest map below 112 pixels ("finest_scale"
56); images are resized by OpenCV, and channels are RGB for torchvision's ResNets ("pytorch" style), BGR for those of
He et al. ("caffe" style, with the stride in the 1 x 1 convolution). The configuration, which a checkpoint of its
training holds, tells which.
"""

import re
from collections.abc import Mapping
from functools import reduce
from pathlib import Path
from typing import Any

from torch import Tensor

from lightning_rcnn.checkpoints import swin_names
from lightning_rcnn.checkpoints.coco_classes import USED_IDS, class_hyperparameters
from lightning_rcnn.checkpoints.configs.mmdetection_settings import configure, read_keys
from lightning_rcnn.checkpoints.detectron2_names import BODY, REGION_STAGE
from lightning_rcnn.checkpoints.mmdetection_names import CASCADE, CLASS_LOGITS, MASK_LOGITS, norm_of, our_name
from lightning_rcnn.checkpoints.reading import WeightFile
from lightning_rcnn.checkpoints.residual_norms import STATISTICS_MADE, statistics_left_out
from lightning_rcnn.checkpoints.residual_shapes import architecture, deformable
from lightning_rcnn.checkpoints.translation import (
    CONVOLUTIONAL_HEAD,
    RESNET_C4,
    RESNET_DC5,
    RESNET_FPN,
    RULES_OF_BOXES,
    RULES_OF_POOLER,
    RULES_OF_RPN,
    SMOOTH_L1,
    SWIN_FPN,
    TWO_LAYER_HEAD,
    USUAL_MASK_LAYERS,
    DetectorName,
    Translation,
    layer_sizes,
    part,
)
from lightning_rcnn.plain_data import INIT_ARGS, merge

_MIN_SCALE = 16 / 1000
"""Least factor by which its box coder changes a side; the inverse is the largest, in all programs."""
PROFILE: dict[str, Any] = {
    "preprocessing": {
        "resize": "opencv",
        "size_divisor": 32,
        "pixel_range": 255.0,
        "channel_order": "rgb",
        "pixel_mean": [123.675, 116.28, 103.53],
        "pixel_std": [58.395, 57.12, 57.375],
    },
    "rpn": {
        **RULES_OF_RPN,
        "anchors": {"rounding": "exact", "order": "ratio_major", "stride": "fixed"},
        "ranking": "probability",
        "min_size": 0.0,
        "loss_denominator": "sampled_or_one",
        "low_quality_iou": 0.3,
        "low_quality_target": "own_object",
        "padding_divisor": 32,
        "min_scale": _MIN_SCALE,
        "box_loss": part(SMOOTH_L1, beta=0.0),
        "pre_nms_top_n": [2000, 1000],
        "post_nms_top_n": [1000, 1000],
    },
    "pooler": {**RULES_OF_POOLER, "sampling_ratio": 0, "aligned": True, "level_rule": "mmdetection"},
    "box": {**RULES_OF_BOXES, "box_loss": part(SMOOTH_L1, beta=0.0), "min_size": 0.0, "min_scale": _MIN_SCALE},
}
"""Settings that make our detectors reproduce mmdetection's, for every backbone."""
MASKS: dict[str, Any] = {"mask": {"paste": "exact", "target": "thresholded"}}
MASK_RCNN: dict[str, Any] = {"box": {"low_quality_iou": 0.5}}
"""Its Mask R-CNN takes the best region of an object for a positive of it; Faster R-CNN and cascades do not."""
CASCADE_PROFILE: dict[str, Any] = {
    "rpn": {"post_nms_top_n": [2000, 1000], "box_loss": part(SMOOTH_L1, beta=0.1111111111111111)},
    "box": {
        "box_loss": part(SMOOTH_L1, beta=1.0),
        "loss_weights": [1.0, 0.5, 0.25],
        "stage_box_weights": [[20.0, 20.0, 10.0, 10.0], [1 / 0.033, 1 / 0.033, 1 / 0.067, 1 / 0.067]],
        "averages": "logits",
        "samples": "each",
        "gradients": "whole",
    },
}
_LAST_IS_BACKGROUND = "predictor.class_logits."
_COUNTER = "num_batches_tracked"
_TITLES: dict[DetectorName, str] = {
    "FasterRCNN": "Faster R-CNN",
    "MaskRCNN": "Mask R-CNN",
    "CascadeRCNN": "Cascade R-CNN",
    "CascadeMaskRCNN": "Cascade Mask R-CNN",
}
_NOTE_ON_CONFIG = (
    "Without its configuration, it is taken for a model of {backbone} in RGB with mmdetection's usual settings; give "
    "--config FILE.py, as it lies in its work_dirs."
)
_NOTE_ON_MASKS = (
    "mmdetection averages the masks of all stages, and ours has those of the last stage: --allow {names} leaves the "
    "other mask heads out."
)


def is_mmdetection(weights: Mapping[str, Tensor]) -> bool:
    """Tell whether these are the weights of one of mmdetection's two-stage detectors."""
    return "rpn_head.rpn_cls.weight" in weights and _class_logits(weights) is not None


def translate(file: WeightFile, config: Path | None = None) -> Translation:
    """Translate one of mmdetection's detectors.

    Args:
        file: weights, and what its checkpoint says of the training (classes, configuration).
        config: configuration that the detector was trained with; by default the one in the file.

    Raises:
        InputError: the backbone is none of ours, or the configuration is of another network.
    """
    weights = file.weights
    mask_stages = sorted({match[1] for name in weights if (match := MASK_LOGITS.fullmatch(name)) and match[1]})
    mask_stage = mask_stages[-1] if mask_stages else None
    keys = read_keys(file.meta, config, file.path)
    has_group_norm = any(re.match(r"backbone\.gn\d", name) for name in weights)
    is_live = keys is not None and not keys["model.backbone.norm_eval"] and not has_group_norm
    names = {name: ours for name in weights if (ours := our_name(name, weights, mask_stage))}
    dropped = {} if is_live else {name: "frozen norms do not count" for name in names if _is_body_counter(names[name])}
    dropped |= {name: "weights of the last step; the file has their average, too" for name in weights if _is_raw(name)}
    names = {theirs: ours for theirs, ours in names.items() if theirs not in dropped}
    renamed = {ours: weights[theirs] for theirs, ours in names.items()}
    changed = {name: "background first" for name in renamed if _LAST_IS_BACKGROUND in name}
    is_swin = swin_names.is_swin(weights)
    positions = swin_names.flat_positions(renamed) if is_swin else {}
    patches = swin_names.merged_here(renamed) if is_swin and not swin_names.has_authors_names(weights) else {}
    neck = _neck(weights)
    detector = _detector(weights, has_masks=any(MASK_LOGITS.fullmatch(name) for name in weights))
    made = {} if has_group_norm else statistics_left_out(renamed)
    translation = Translation(
        f"mmdetection's {_TITLES[detector]}, {neck.upper()}",
        file.path,
        detector,
        reduce(
            merge,
            [
                PROFILE,
                {} if neck == "c4" else _box_head(weights),
                _of_detector(detector, weights, mask_stage),
                {"backbone": _backbone(file, renamed, neck, is_live, has_group_norm)},
                _classes(file.meta, len(weights[str(_class_logits(weights))]) - 1),
                layer_sizes(renamed),
            ],
        ),
        renamed | made | positions | patches | {name: renamed[name].roll(1, dims=0) for name in changed},
        names,
        changed=changed
        | dict.fromkeys(patches, "patches in the order of the paper's code")
        | dict.fromkeys(positions, "pairs of patches in one row"),
        dropped=dropped,
        unexpected=[name for name in weights if name not in names and name not in dropped],
        made=dict.fromkeys(made, STATISTICS_MADE),
    )
    if len(mask_stages) > 1:
        other = " ".join(f"roi_head.mask_head.{stage}" for stage in mask_stages[:-1])
        translation.notes.append(_NOTE_ON_MASKS.format(names=other))
    if keys is None:
        backbone = "a Swin Transformer" if is_swin else "torchvision's ResNet"
        translation.notes.append(_NOTE_ON_CONFIG.format(backbone=backbone))
    else:
        configure(translation, keys)
    return translation


def _is_raw(name: str) -> bool:
    """Tell whether a weight is one that mmcv's EMAHook keeps; it saves the averages under the usual names."""
    return name.startswith("ema_") and "." not in name


def _is_body_counter(ours: str) -> bool:
    return ours.endswith(_COUNTER) and ours.startswith((BODY, REGION_STAGE))


def _class_logits(weights: Mapping[str, Tensor]) -> str | None:
    return next((name for name in weights if CLASS_LOGITS.fullmatch(name)), None)


def _neck(weights: Mapping[str, Tensor]) -> str:
    if "neck.lateral_convs.0.conv.weight" in weights:
        return "fpn"
    return "c4" if any(name.startswith("roi_head.shared_head.") for name in weights) else "dc5"


def _detector(weights: Mapping[str, Tensor], has_masks: bool) -> DetectorName:
    if CASCADE in weights:
        return "CascadeMaskRCNN" if has_masks else "CascadeRCNN"
    return "MaskRCNN" if has_masks else "FasterRCNN"


def _backbone(
    file: WeightFile, renamed: Mapping[str, Tensor], neck: str, is_live: bool, has_group_norm: bool
) -> dict[str, Any]:
    fpn_norm = norm_of("neck.lateral_convs.0", file.weights)
    if swin_names.is_swin(file.weights):
        name, window = swin_names.network_of(renamed, str(file.path))
        swin = part(SWIN_FPN, name=name, window=window)
        if fpn_norm:
            swin[INIT_ARGS]["fpn_norm"] = fpn_norm
        return swin
    body = {name.replace(REGION_STAGE, f"{BODY}layer4.").removeprefix(BODY): value for name, value in renamed.items()}
    norm = "group_norm" if has_group_norm else "batch_norm" if is_live else "frozen_batch_norm"
    settings = part(
        {"fpn": RESNET_FPN, "c4": RESNET_C4, "dc5": RESNET_DC5}[neck],
        name=architecture(WeightFile(file.path, body)),
        norm=norm,
        norm_epsilon=1e-5,
        frozen_stages=2,
        stride_in_1x1=False,
    )
    settings[INIT_ARGS] |= deformable(WeightFile(file.path, body))
    if fpn_norm:
        settings[INIT_ARGS]["fpn_norm"] = fpn_norm
    return settings


def _box_head(weights: Mapping[str, Tensor]) -> dict[str, Any]:
    first = "roi_head.bbox_head.0." if CASCADE in weights else "roi_head.bbox_head."
    layers = [name for name in weights if re.fullmatch(rf"{re.escape(first)}shared_convs\.\d\.conv\.weight", name)]
    if not layers:
        return {"box": {"head": part(TWO_LAYER_HEAD)}}
    norm = norm_of(f"{first}shared_convs.0", weights)
    return {"box": {"head": part(CONVOLUTIONAL_HEAD, num_layers=len(layers), norm=norm)}}


def _of_detector(detector: DetectorName, weights: Mapping[str, Tensor], mask_stage: str | None) -> dict[str, Any]:
    """Return the settings of the branches that only some detectors have."""
    settings: dict[str, Any] = {}
    if "Mask" in detector:
        head = f"roi_head.mask_head.{f'{mask_stage}.' if mask_stage else ''}"
        norm = norm_of(f"{head}convs.0", weights)
        settings = merge(MASKS, {"mask": {"norm": norm}} if norm else {})
        layer = re.compile(rf"{re.escape(head)}convs\.\d\.conv\.weight")
        num_layers = sum(layer.fullmatch(name) is not None for name in weights)
        if num_layers not in (0, USUAL_MASK_LAYERS):
            settings["mask"]["num_layers"] = num_layers
    if detector.startswith("Cascade"):
        return merge(settings, CASCADE_PROFILE)
    if detector == "MaskRCNN":
        settings = merge(settings, MASK_RCNN)
    if len(weights["roi_head.bbox_head.fc_reg.weight"]) == 4:
        settings = merge(settings, {"box": {"class_agnostic": True}})
    return settings


def _classes(meta: Mapping[str, Any], number: int) -> dict[str, Any]:
    """Return names and ids of the classes: as a checkpoint of 2.x or 3.x has them, else COCO's if there are as many."""
    coco, of_data = class_hyperparameters(number, USED_IDS), meta.get("dataset_meta")
    names = meta.get("CLASSES") or (of_data.get("classes") or of_data.get("CLASSES") if of_data else None)
    if not isinstance(names, (list, tuple)) or len(names) != number:
        return coco
    own = [str(name) for name in names]
    return coco if own == coco["class_names"] else {"class_names": own, "category_ids": None}
