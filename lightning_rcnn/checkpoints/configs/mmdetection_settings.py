"""Settings of mmdetection's configurations, of 2.x and 3.x, as ours.

The network follows from the weights (`checkpoints/mmdetection.py`); a configuration adds what they do not tell.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lightning_rcnn.checkpoints.configs.mmdetection_branches import RPN, TEST, TRAIN, read_branches
from lightning_rcnn.checkpoints.configs.mmdetection_files import parse_config, read_config
from lightning_rcnn.checkpoints.configs.mmdetection_known import check_allowed, needs_no_reader
from lightning_rcnn.checkpoints.configs.mmdetection_network import check_network, read_backbone
from lightning_rcnn.checkpoints.configs.mmdetection_training import read_training
from lightning_rcnn.checkpoints.configs.source_keys import SourceKeys, flat, one_line_for_other_kinds
from lightning_rcnn.checkpoints.configs.training import nested
from lightning_rcnn.checkpoints.translation import Translation
from lightning_rcnn.errors import InputError
from lightning_rcnn.plain_data import merge, override

_SAME: dict[str, str] = {
    f"{TRAIN}rpn.assigner.pos_iou_thr": "rpn.positive_iou",
    f"{TRAIN}rpn.assigner.neg_iou_thr": "rpn.negative_iou",
    f"{TRAIN}rpn.sampler.num": "rpn.samples_per_image",
    f"{TRAIN}rpn.sampler.pos_fraction": "rpn.positive_fraction",
    f"{TEST}rpn.min_bbox_size": "rpn.min_size",
    f"{TEST}rpn.nms.iou_threshold": "rpn.nms_iou",
    f"{TRAIN}rcnn.assigner.pos_iou_thr": "box.positive_iou",
    f"{TRAIN}rcnn.assigner.neg_iou_thr": "box.negative_iou",
    f"{TRAIN}rcnn.sampler.num": "box.samples_per_image",
    f"{TRAIN}rcnn.sampler.pos_fraction": "box.positive_fraction",
    f"{TEST}rcnn.score_thr": "box.score_threshold",
    f"{TEST}rcnn.nms.iou_threshold": "box.nms_iou",
    f"{TEST}rcnn.max_per_img": "box.detections_per_image",
    "model.roi_head.bbox_roi_extractor.roi_layer.output_size": "box.pooled_size",
    "model.roi_head.bbox_roi_extractor.roi_layer.sampling_ratio": "pooler.sampling_ratio",
}
"""Settings that only have another name here."""
_OLD_NAMES = (
    (re.compile(r"^(train_cfg|test_cfg)\.(rpn|rcnn|rpn_proposal)"), r"model.\1.\2"),
    (re.compile(r"\.out_size$"), ".output_size"),
    (re.compile(r"\.sample_num$"), ".sampling_ratio"),
    (re.compile(r"\.(rpn|rpn_proposal)\.nms_thr$"), r".\1.nms.iou_threshold"),
    (re.compile(r"\.nms\.iou_thr$"), ".nms.iou_threshold"),
    (re.compile(r"\.max_num$"), ".max_per_img"),
    (re.compile(r"^model\.backbone\.embed_dim$"), "model.backbone.embed_dims"),
    (re.compile(r"^model\.backbone\.ape$"), "model.backbone.use_abs_pos_embed"),
    (re.compile(r"^model\.backbone\.use_checkpoint$"), "model.backbone.with_cp"),
    (re.compile(r"^model\.rpn_head\.anchor_(scales|ratios|strides)$"), r"model.rpn_head.anchor_generator.\1"),
    (
        re.compile(r"^(model\.(?:rpn_head|roi_head\.bbox_head(?:\.\d)?))\.target_(means|stds)$"),
        r"\1.bbox_coder.target_\2",
    ),
)
"""Names of the first versions of 2.x, or of the authors of Swin Transformers, and today's."""
_DEFAULTS: dict[str, Any] = {
    "model.backbone.type": "ResNet",
    "model.backbone.style": "pytorch",
    "model.backbone.frozen_stages": -1,
    "model.backbone.norm_eval": True,
    "model.data_preprocessor.pad_size_divisor": 1,
    f"{RPN}anchor_generator.ratios": [0.5, 1.0, 2.0],
    f"{RPN}anchor_generator.center_offset": 0.0,
    f"{TRAIN}rpn.allowed_border": -1,
    "optim_wrapper.clip_grad.norm_type": 2,
    "optimizer_config.grad_clip": None,
    "optimizer_config.grad_clip.norm_type": 2,
}


def read_keys(meta: Mapping[str, Any], config: Path | None, weights: Path) -> SourceKeys | None:
    """Return the settings of the configuration that belongs to a checkpoint; None if there is none.

    Args:
        meta: what the checkpoint says of its training; it has the text of its configuration.
        config: file to read instead.
        weights: the checkpoint; a Python file of the name that the text was read from may lie beside it.

    Raises:
        InputError: the configuration cannot be read, or is none of mmdetection's.
    """
    text = next((meta[key] for key in ("cfg", "config") if isinstance(meta.get(key), str)), None)
    if config is not None:
        tree = read_config(config)
    elif text is not None:
        tree = parse_config(text, weights)
    else:
        return None
    path = config or weights
    if not isinstance(tree.get("model"), Mapping) or "type" not in tree["model"]:
        raise InputError(f"{path}: not a configuration of mmdetection: it has no model with a type")
    if "data_preprocessor" in tree:  # mmengine gives it to a model without its own
        tree["model"] = {"data_preprocessor": tree["data_preprocessor"], **tree["model"]}
    return SourceKeys(path, {_current_name(key): value for key, value in flat(tree).items()}, _DEFAULTS)


def _current_name(key: str) -> str:
    for old, new in _OLD_NAMES:
        key = old.sub(new, key)
    return key


def configure(translation: Translation, keys: SourceKeys) -> None:
    """Complete a translated detector by the configuration that it was trained with.

    Args:
        translation: detector of mmdetection; its settings, run settings and notes are changed.
        keys: settings of the configuration.

    Raises:
        InputError: the configuration is of another network than the weights.
    """
    model: dict[str, Any] = {}
    with one_line_for_other_kinds(keys.path, keys):
        check_network(keys, translation)
        check_allowed(keys)
        for section in (_same, read_backbone, read_branches):
            model = merge(model, section(keys, translation))
        preprocessing, own_settings, translation.run = read_training(keys)
    model = merge(model, {"preprocessing": preprocessing, **own_settings})
    if divisor := preprocessing.get("size_divisor"):
        model = merge(model, {"rpn": {"padding_divisor": divisor}})
    translation.hyperparameters = override(translation.hyperparameters, model)
    translation.notes.append(f"Settings of {keys.path}, as far as they have a counterpart here.")
    translation.notes += [f"{keys.path}: no counterpart of {setting}." for setting in keys.left(needs_no_reader)]


def _same(keys: SourceKeys, translation: Translation) -> dict[str, Any]:
    settings: dict[str, Any] = {}
    for theirs, ours in _SAME.items():
        if (value := keys[theirs]) is not None:
            settings = merge(settings, nested(ours, value))
    return settings
