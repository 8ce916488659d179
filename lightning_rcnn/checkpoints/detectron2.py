"""detectron2's Faster and Mask R-CNN of its model zoo: ResNet or ResNeXt, with C4, dilated C5 or a feature pyramid.

Differences beside the names: the background is the last class and not the first; images are BGR, 0 to 255; ResNets
halve the resolution in the 1 x 1 convolution of a bottleneck, as He et al. do, ResNeXts in the 3 x 3 one; and all that
the profiles below say.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lightning_rcnn.checkpoints.coco_classes import USED_IDS, names_of
from lightning_rcnn.checkpoints.residual_names import from_detectron2
from lightning_rcnn.checkpoints.residual_shapes import architecture
from lightning_rcnn.checkpoints.translation import DetectorName, Translation, generic_class_names, renamed

_CLASS_LOGITS = "roi_heads.box_predictor.cls_score.weight"
_NAMES = (
    ("proposal_generator.rpn_head.conv.", "rpn.conv."),
    ("proposal_generator.rpn_head.objectness_logits.", "rpn.objectness."),
    ("proposal_generator.rpn_head.anchor_deltas.", "rpn.deltas."),
    ("roi_heads.box_head.fc1.", "box_head.fc6."),
    ("roi_heads.box_head.fc2.", "box_head.fc7."),
    ("roi_heads.box_predictor.cls_score.", "box_predictor.class_logits."),
    ("roi_heads.box_predictor.bbox_pred.", "box_predictor.box_deltas."),
    *((f"roi_heads.mask_head.mask_fcn{layer + 1}.", f"mask_head.convolutions.{layer}.") for layer in range(4)),
    ("roi_heads.mask_head.deconv.", "mask_head.upsample."),
    ("roi_heads.mask_head.predictor.", "mask_head.logits."),
    *((f"backbone.fpn_lateral{level + 2}.", f"backbone.fpn.inner_blocks.{level}.0.") for level in range(4)),
    *((f"backbone.fpn_output{level + 2}.", f"backbone.fpn.layer_blocks.{level}.0.") for level in range(4)),
)
"""Beginnings of their names and of ours."""
_LAST_IS_BACKGROUND = "box_predictor.class_logits."
_IGNORED = {
    "pixel_mean": "part of the profile",
    "pixel_std": "part of the profile",
    "proposal_generator.anchor_generator.cell_anchors": "computed",
}

PROFILE: dict[str, Any] = {
    "resize": "pillow",
    "pixel_range": 255.0,
    "channel_order": "bgr",
    "norm": "frozen_batch_norm",
    "norm_epsilon": 1e-5,
    "frozen_stages": 2,
    "anchor_rounding": "exact",
    "anchor_order": "size_major",
    "anchor_stride": "fixed",
    "rpn_ranking": "logit",
    "rpn_min_size": 0.0,
    "rpn_loss_denominator": "fixed",
    "rpn_box_loss_beta": 0.0,
    "roi_sampling_ratio": 0,
    "roi_aligned": True,
    "roi_level_rule": "detectron2",
    "box_loss_beta": 0.0,
    "detection_min_size": 0.0,
}
"""What makes our detectors work as detectron2's do, whatever the backbone."""
PIXELS_MSRA: dict[str, Any] = {"pixel_mean": [103.53, 116.28, 123.675], "pixel_std": [1.0, 1.0, 1.0]}
PIXELS_RESNEXT: dict[str, Any] = {"pixel_mean": [103.53, 116.28, 123.675], "pixel_std": [57.375, 57.12, 58.395]}
SINGLE_MAP: dict[str, Any] = {"size_divisor": 1, "rpn_pre_nms_top_n": [12000, 6000], "rpn_post_nms_top_n": [2000, 1000]}
PYRAMID: dict[str, Any] = {"size_divisor": 32, "rpn_pre_nms_top_n": [2000, 1000], "rpn_post_nms_top_n": [1000, 1000]}


def is_detectron2(weights: Mapping[str, Tensor]) -> bool:
    """Whether these are the weights of one of detectron2's detectors with a box head."""
    return "proposal_generator.rpn_head.conv.weight" in weights and _CLASS_LOGITS in weights


def translate(weights: Mapping[str, Tensor], path: Path) -> Translation:
    """One of detectron2's detectors in our words.

    Args:
        weights: the state dict.
        path: of the file, for messages.

    Raises:
        InputError: a backbone that we don't have.
    """
    neck = _neck(weights)
    names, unexpected, dropped = {}, [], {}
    for name in weights:
        ours = _backbone_name(name) or renamed(name, _NAMES)
        reason = next((reason for start, reason in _IGNORED.items() if name.startswith(start)), None)
        if ours is not None:
            names[name] = ours
        elif reason is not None:
            dropped[name] = reason
        else:
            unexpected.append(name)
    ours_to_theirs = {ours: theirs for theirs, ours in names.items()}
    body = {
        ours.removeprefix("backbone.body.").replace("region_stage.", "layer4."): weights[theirs]
        for theirs, ours in names.items()
        if ours.startswith(("backbone.body.", "region_stage."))
    }
    backbone = architecture(body, path)
    has_masks = "roi_heads.mask_head.predictor.weight" in weights
    detector: DetectorName = "MaskRCNN" if has_masks else "FasterRCNN"
    number = len(weights[_CLASS_LOGITS]) - 1
    is_coco = number == len(USED_IDS)
    is_resnext = backbone.startswith("resnext")

    def rows(name: str) -> int | None:
        return len(weights[ours_to_theirs[name]]) if name in ours_to_theirs else None

    widths = {
        "fpn_channels": rows("backbone.fpn.inner_blocks.0.0.weight"),
        "box_head_width": rows("box_head.fc6.weight"),
        "mask_head_width": len(weights["roi_heads.mask_head.predictor.weight"][0]) if has_masks else None,
    }
    hyperparameters = {
        **PROFILE,
        **(PIXELS_RESNEXT if is_resnext else PIXELS_MSRA),
        **(PYRAMID if neck == "fpn" else SINGLE_MAP),
        "class_names": names_of(USED_IDS) if is_coco else generic_class_names(number),
        "category_ids": USED_IDS if is_coco else None,
        "backbone": backbone,
        "neck": neck,
        "stride_in_1x1": "layer1.0.conv3.weight" in body and not is_resnext,
        **({"mask_paste": "exact", "mask_target": "polygon"} if has_masks else {}),
        **{key: value for key, value in widths.items() if value is not None},
    }
    translation = Translation(
        f"detectron2's {'Mask' if has_masks else 'Faster'} R-CNN, {neck.upper()}",
        path,
        detector,
        hyperparameters,
        {ours: _in_our_order(ours, weights[theirs]) for theirs, ours in names.items()},
        names,
        changed={name: "background first" for name in names.values() if name.startswith(_LAST_IS_BACKGROUND)},
        dropped=dropped,
        unexpected=unexpected,
    )
    _complete_norms(translation)
    return translation


def _neck(weights: Mapping[str, Tensor]) -> str:
    if "backbone.fpn_lateral2.weight" in weights:
        return "fpn"
    return "c4" if any(name.startswith("roi_heads.res5.") for name in weights) else "dc5"


def _backbone_name(name: str) -> str | None:
    """Our name of a weight of the ResNet, whose last stage is the head's with C4."""
    for prefix in ("backbone.bottom_up.", "backbone.", "roi_heads."):
        if name.startswith(prefix):
            inner = from_detectron2(name.removeprefix(prefix))
            if prefix == "roi_heads.":
                return (
                    f"region_stage.{inner.removeprefix('layer4.')}" if inner and inner.startswith("layer4.") else None
                )
            if inner:
                return f"backbone.body.{inner}"
    return None


def _in_our_order(ours: str, value: Tensor) -> Tensor:
    """The background, their last class, in front."""
    return value.roll(1, dims=0) if ours.startswith(_LAST_IS_BACKGROUND) else value


def _complete_norms(translation: Translation) -> None:
    """Norms of early files have no statistics: a mean of 0 and a variance of 1."""
    for ours, value in list(translation.weights.items()):
        stem, _, item = ours.rpartition(".")
        if item == "bias" and value.ndim == 1 and ("bn" in stem or "downsample.1" in stem):
            for name, number in (("running_mean", 0.0), ("running_var", 1.0)):
                if f"{stem}.{name}" not in translation.weights:
                    translation.weights[f"{stem}.{name}"] = torch.full_like(value, number)
                    translation.made[f"{stem}.{name}"] = f"{number:g} everywhere, as detectron2 has it"
