"""detectron2's Faster and Mask R-CNN of its model zoo: ResNet or ResNeXt, with C4, dilated C5 or a feature pyramid.

Differences beside the names: the background is the last class and not the first; images are BGR, 0 to 255; ResNets
halve the resolution in the 1 x 1 convolution of a bottleneck, as He et al. do, ResNeXts in the 3 x 3 one; and all that
the profiles below say.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from torch import Tensor

from lightning_rcnn.checkpoints.coco_classes import USED_IDS, class_hyperparameters
from lightning_rcnn.checkpoints.detectron2_buffers import CELL_ANCHORS, read_anchors, read_pixels
from lightning_rcnn.checkpoints.residual_names import from_detectron2
from lightning_rcnn.checkpoints.residual_norms import STATISTICS_MADE, statistics_left_out
from lightning_rcnn.checkpoints.residual_shapes import BASIC_RESNETS, architecture
from lightning_rcnn.checkpoints.translation import DetectorName, Translation, layer_sizes, renamed

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
_BODY, _REGION_STAGE = "backbone.body.", "region_stage."
_LAST_IS_BACKGROUND = "box_predictor.class_logits."
_BUFFERS = {"pixel_mean": "a hyperparameter", "pixel_std": "a hyperparameter", CELL_ANCHORS: "hyperparameters"}
"""Beginnings of names -> what becomes of their numbers."""

PROFILE: dict[str, Any] = {
    "resize": "pillow",
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
    "crowd_share": None,
}
"""What makes our detectors work as detectron2's do, whatever the backbone."""
PIXELS: dict[str, Any] = {"pixel_range": 255.0, "channel_order": "bgr", "pixel_mean": [103.53, 116.28, 123.675]}
SINGLE_MAP: dict[str, Any] = {"size_divisor": 1, "rpn_pre_nms_top_n": [12000, 6000], "rpn_post_nms_top_n": [2000, 1000]}
PYRAMID: dict[str, Any] = {"size_divisor": 32, "rpn_pre_nms_top_n": [2000, 1000], "rpn_post_nms_top_n": [1000, 1000]}
ProfileName = Literal["detectron1", "lvis", "cityscapes"]
SETTINGS: dict[ProfileName, dict[str, Any]] = {
    "detectron1": {
        "roi_sampling_ratio": 2,
        "roi_aligned": False,
        "rpn_box_loss_beta": 0.1111,
        "box_loss_beta": 1.0,
    },
    "lvis": {"score_threshold": 1e-4, "detections_per_image": 300},
    "cityscapes": {"min_size": 1024, "max_size": 2048},
}
"""What its configurations in Detectron1-Comparisons, LVIS... and Cityscapes set under the same names of weights."""
_FOLDERS: dict[str, ProfileName] = {"Detectron1-": "detectron1", "LVIS": "lvis", "Cityscapes": "cityscapes"}
"""Beginnings of the model zoo's folders."""
MASKS: dict[str, Any] = {"mask_paste": "exact", "mask_target": "polygon"}


def is_detectron2(weights: Mapping[str, Tensor]) -> bool:
    """Whether these are the weights of one of detectron2's detectors with a box head."""
    return "proposal_generator.rpn_head.conv.weight" in weights and _CLASS_LOGITS in weights


def translate(weights: Mapping[str, Tensor], path: Path, profile: ProfileName | None = None) -> Translation:
    """One of detectron2's detectors in our words.

    Args:
        weights: the state dict.
        path: of the file, for messages, and for the folder of the model zoo that tells the profile.
        profile: settings that differ from the zoo's usual ones; by default those of the file's folder in the zoo.

    Raises:
        InputError: a backbone that we don't have, or anchors or pixel statistics that no settings of ours give.
    """
    names = {name: ours for name in weights if (ours := _our_name(name))}
    dropped = {name: reason for start, reason in _BUFFERS.items() for name in weights if name.startswith(start)}
    found = {ours: weights[theirs] for theirs, ours in names.items()}
    made = statistics_left_out(found)
    changed = {name: "background first" for name in found if name.startswith(_LAST_IS_BACKGROUND)}
    body = {name.replace(_REGION_STAGE, f"{_BODY}layer4.").removeprefix(_BODY): found[name] for name in found}
    backbone, neck = architecture(body, path), _neck(weights)
    has_masks = "mask_head.logits.weight" in found
    profile = profile or next((name for start, name in _FOLDERS.items() if _is_below(path, start)), None)
    usual = input_of(backbone)
    pixels, notes = read_pixels(weights, usual, path)
    anchors, note_on_anchors = read_anchors(weights, neck, path)
    detector: DetectorName = "MaskRCNN" if has_masks else "FasterRCNN"
    return Translation(
        f"detectron2's {'Mask' if has_masks else 'Faster'} R-CNN, {neck.upper()}",
        path,
        detector,
        {
            **PROFILE,
            **usual,
            **pixels,
            **anchors,
            **(PYRAMID if neck == "fpn" else SINGLE_MAP),
            **(MASKS if has_masks else {}),
            **(SETTINGS[profile] if profile else {}),
            **class_hyperparameters(len(weights[_CLASS_LOGITS]) - 1, USED_IDS),
            "backbone": backbone,
            "neck": neck,
            **layer_sizes(found),
        },
        found | made | {name: found[name].roll(1, dims=0) for name in changed},
        names,
        changed=changed,
        dropped=dropped,
        unexpected=[name for name in weights if name not in names and name not in dropped],
        made=dict.fromkeys(made, STATISTICS_MADE),
        notes=[*notes, *note_on_anchors, _note_on_profile(profile)],
    )


def input_of(backbone: str) -> dict[str, Any]:
    """What a backbone trained for detectron2 expects: the pixels, and where it halves the resolution.

    Args:
        backbone: our name for it.
    """
    if backbone.startswith("resnext"):
        return PIXELS | {"pixel_std": [57.375, 57.12, 58.395], "stride_in_1x1": False}
    return PIXELS | {"pixel_std": [1.0, 1.0, 1.0], "stride_in_1x1": backbone not in BASIC_RESNETS}


def _is_below(path: Path, start: str) -> bool:
    return any(folder.startswith(start) for folder in path.parts[:-1])


def _note_on_profile(profile: ProfileName | None) -> str:
    if profile:
        listed = ", ".join(f"{key} {value}" for key, value in SETTINGS[profile].items())
        return f"Profile {profile}: {listed}."
    return (
        "The file does not tell whose settings it was trained with; for a model of Detectron1-Comparisons, LVIS or "
        f"Cityscapes add --profile {'|'.join(SETTINGS)}."
    )


def _neck(weights: Mapping[str, Tensor]) -> str:
    if "backbone.fpn_lateral2.weight" in weights:
        return "fpn"
    return "c4" if any(name.startswith("roi_heads.res5.") for name in weights) else "dc5"


def _our_name(name: str) -> str | None:
    """Our name of a weight; the last stage of the ResNet is the head's with C4."""
    if name.startswith("roi_heads.res5."):
        inner = from_detectron2(name.removeprefix("roi_heads."))
        return inner and inner.replace("layer4.", _REGION_STAGE, 1)
    for prefix in ("backbone.bottom_up.", "backbone."):
        if name.startswith(prefix) and (inner := from_detectron2(name.removeprefix(prefix))):
            return f"{_BODY}{inner}"
    return renamed(name, _NAMES)
