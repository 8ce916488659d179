"""Settings of mmdetection's configurations, of 2.x and 3.x, as ours.

The network follows from the weights (`checkpoints/mmdetection.py`); a configuration adds what they do not tell.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lightning_rcnn.checkpoints.configs.mmdetection_files import parse_config, read_config
from lightning_rcnn.checkpoints.configs.mmdetection_training import read_training
from lightning_rcnn.checkpoints.configs.source_keys import SourceKeys, flat
from lightning_rcnn.checkpoints.configs.training import nested
from lightning_rcnn.checkpoints.translation import RESNET_C4, RESNET_DC5, RESNET_FPN, SWIN_FPN, Translation
from lightning_rcnn.errors import InputError
from lightning_rcnn.plain_data import CLASS_PATH, INIT_ARGS, merge

_DETECTORS = ("FasterRCNN", "MaskRCNN", "CascadeRCNN")
_BACKBONES = ("ResNet", "ResNeXt", "SwinTransformer")
_RPN, _BOX, _MASK = "model.rpn_head.", "model.roi_head.bbox_head.", "model.roi_head.mask_head."
_TRAIN, _TEST = "model.train_cfg.", "model.test_cfg."
_SAME: dict[str, str] = {
    f"{_TRAIN}rpn.assigner.pos_iou_thr": "rpn.positive_iou",
    f"{_TRAIN}rpn.assigner.neg_iou_thr": "rpn.negative_iou",
    f"{_TRAIN}rpn.sampler.num": "rpn.samples_per_image",
    f"{_TRAIN}rpn.sampler.pos_fraction": "rpn.positive_fraction",
    f"{_TEST}rpn.min_bbox_size": "rpn.min_size",
    f"{_TEST}rpn.nms.iou_threshold": "rpn.nms_iou",
    f"{_TRAIN}rcnn.assigner.pos_iou_thr": "box.positive_iou",
    f"{_TRAIN}rcnn.assigner.neg_iou_thr": "box.negative_iou",
    f"{_TRAIN}rcnn.sampler.num": "box.samples_per_image",
    f"{_TRAIN}rcnn.sampler.pos_fraction": "box.positive_fraction",
    f"{_TEST}rcnn.score_thr": "box.score_threshold",
    f"{_TEST}rcnn.nms.iou_threshold": "box.nms_iou",
    f"{_TEST}rcnn.max_per_img": "box.detections_per_image",
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
    (re.compile(r"^model\.rpn_head\.anchor_(scales|ratios|strides)$"), r"model.rpn_head.anchor_generator.\1"),
    (
        re.compile(r"^(model\.(?:rpn_head|roi_head\.bbox_head(?:\.\d)?))\.target_(means|stds)$"),
        r"\1.bbox_coder.target_\2",
    ),
)
"""Names of the first versions of 2.x and today's."""
_ONLY: dict[str, Any] = {
    f"{_RPN}anchor_generator.type": "AnchorGenerator",
    f"{_RPN}bbox_coder.type": "DeltaXYWHBBoxCoder",
    f"{_RPN}bbox_coder.target_means": [0.0, 0.0, 0.0, 0.0],
    f"{_RPN}bbox_coder.target_stds": [1.0, 1.0, 1.0, 1.0],
    f"{_RPN}loss_cls.type": "CrossEntropyLoss",
    f"{_BOX}bbox_coder.type": "DeltaXYWHBBoxCoder",
    f"{_BOX}bbox_coder.target_means": [0.0, 0.0, 0.0, 0.0],
    f"{_BOX}loss_cls.type": "CrossEntropyLoss",
    f"{_TRAIN}rpn.sampler.type": "RandomSampler",
    f"{_TRAIN}rcnn.sampler.type": "RandomSampler",
    f"{_TRAIN}rcnn.assigner.match_low_quality": False,
    f"{_TEST}rcnn.nms.type": "nms",
    f"{_TEST}rpn.nms.type": "nms",
    f"{_TEST}rcnn.mask_thr_binary": 0.5,
    f"{_RPN}loss_cls.loss_weight": 1.0,
    f"{_RPN}loss_bbox.loss_weight": 1.0,
    f"{_BOX}loss_cls.loss_weight": 1.0,
    f"{_BOX}loss_bbox.loss_weight": 1.0,
    "model.roi_head.mask_head.loss_mask.loss_weight": 1.0,
}
"""Settings of which ours have one value."""
_STRIDES: dict[str, dict[str, list[int]]] = {
    RESNET_FPN: {"strides": [1, 2, 2, 2], "dilations": [1, 1, 1, 1]},
    RESNET_C4: {"strides": [1, 2, 2], "dilations": [1, 1, 1]},
    RESNET_DC5: {"strides": [1, 2, 2, 1], "dilations": [1, 1, 1, 2]},
}
"""Strides and dilations of the stages, which weights do not tell."""
_SWIN: dict[str, Any] = {
    "qk_scale": None,
    "drop_rate": 0.0,
    "attn_drop_rate": 0.0,
    "patch_norm": True,
    "out_indices": [0, 1, 2, 3],
    "strides": [4, 2, 2, 2],
}
"""Settings of a Swin Transformer that weights do not tell, and of which ours has one value."""
_NECK: dict[str, Any] = {"num_outs": 5, "start_level": 0, "upsample_cfg.mode": "nearest"}
"""What the weights of a pyramid do not tell, and ours has one value of."""
_DEFAULTS: dict[str, Any] = {
    "model.backbone.type": "ResNet",
    "model.backbone.style": "pytorch",
    "model.backbone.frozen_stages": -1,
    "model.backbone.norm_eval": True,
    "model.data_preprocessor.pad_size_divisor": 1,
    f"{_RPN}anchor_generator.ratios": [0.5, 1.0, 2.0],
    f"{_RPN}anchor_generator.center_offset": 0.0,
    f"{_TRAIN}rpn.allowed_border": -1,
    "optim_wrapper.clip_grad.norm_type": 2,
    "optimizer_config.grad_clip": None,
    "optimizer_config.grad_clip.norm_type": 2,
    "lr_config.warmup_ratio": 0.001,
}
_TOLD_OTHERWISE = re.compile(
    r"model\.(type|pretrained)|.*\.(init_cfg|type)(\..*)?|model\.backbone\.(?!style|frozen|norm|plugins).*"
    r"|model\.backbone\.norm_cfg\..*|model\.neck\..*"
    r"|.*\.(in_channels|feat_channels|out_channels|fc_out_channels|conv_out_channels|num_convs|num_stages|num_classes)"
    r"|.*\.(featmap_strides|roi_feat_size|strides|use_sigmoid|use_mask|mask_size|mask_thr_binary|debug|reg_class_agnostic)"
    r"|.*\.(norm_cfg|conv_cfg)\..*|.*\.(pos_weight|ignore_iof_thr|neg_pos_ub|add_gt_as_proposals|min_pos_iou)"
    r"|.*\.(match_low_quality|nms_across_levels|nms_post|loss_weight|target_means|nms\.type|with_avg_pool)"
    r"|.*rpn_proposal\.(nms\.iou_threshold|min_bbox_size)|model\.roi_head\.(shared_head|mask_roi_extractor)\..*"
    r"|model\.train_cfg\.rcnn\.\d\..*|model\.data_preprocessor\..*|.*\.bbox_head\.\d\..*|.*\.mask_head\.\d\..*"
)
"""Keys that the weights tell, that functions below read, or that are the same in all of mmdetection's models."""


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
    _check(translation, keys)
    model: dict[str, Any] = {}
    for section in (_same, _backbone, _rpn, _pooler, _box, _losses):
        model = merge(model, section(keys, translation))
    preprocessing, own_settings, translation.run = read_training(keys)
    model = merge(model, {"preprocessing": preprocessing, **own_settings})
    translation.hyperparameters = merge(translation.hyperparameters, model)
    translation.notes.append(f"Settings of {keys.path}, as far as they have a counterpart here.")
    translation.notes += [f"{keys.path}: no counterpart of {setting}." for setting in keys.left(_is_told_otherwise)]


def _is_told_otherwise(key: str) -> bool:
    is_of_training = key.startswith(("model.", "optim", "param_scheduler", "lr_config"))
    return not is_of_training or _TOLD_OTHERWISE.fullmatch(key) is not None


def _check(translation: Translation, keys: SourceKeys) -> None:
    kind, backbone, depth = keys["model.type"], keys["model.backbone.type"], keys["model.backbone.depth"]
    if kind not in _DETECTORS:
        raise InputError(
            f"{keys.path}: model.type {kind}: we have no such detector; ours are those of {', '.join(_DETECTORS)}"
        )
    if backbone not in _BACKBONES:
        raise InputError(
            f"{keys.path}: model.backbone.type {backbone}: its weights are read for {', '.join(_BACKBONES)} only; "
            "train it here with a backbone of extending.md"
        )
    name = translation.hyperparameters["backbone"][INIT_ARGS]["name"]
    is_swin = translation.hyperparameters["backbone"][CLASS_PATH] == SWIN_FPN
    if (backbone == "SwinTransformer") != is_swin:
        raise InputError(
            f"{keys.path}: model.backbone.type {backbone}, but {translation.source} is a {name}; give the "
            "configuration of these weights"
        )
    if depth is not None and not name.partition("_")[0].endswith(f"t{depth}"):
        raise InputError(
            f"{keys.path}: model.backbone.depth {depth}, but {translation.source} is a {name}; give the configuration "
            "of these weights"
        )
    number = keys[f"{_BOX}num_classes"] or keys[f"{_BOX}0.num_classes"]
    known = len(translation.hyperparameters["class_names"])
    if number is not None and number != known:
        raise InputError(
            f"{keys.path}: num_classes {number}, but {translation.source} has {known} classes; give the configuration "
            "of these weights"
        )


def _same(keys: SourceKeys, translation: Translation) -> dict[str, Any]:
    settings: dict[str, Any] = {}
    for theirs, ours in _SAME.items():
        if (value := keys[theirs]) is not None:
            settings = merge(settings, nested(ours, value))
    return settings


def _backbone(keys: SourceKeys, translation: Translation) -> dict[str, Any]:
    if keys["model.backbone.type"] == "SwinTransformer":
        return {"backbone": {INIT_ARGS: _swin(keys)}}
    has_bottlenecks = translation.hyperparameters["backbone"][INIT_ARGS]["name"] not in ("resnet18", "resnet34")
    settings: dict[str, Any] = {"frozen_stages": keys["model.backbone.frozen_stages"] + 1}
    if keys["model.backbone.style"] == "caffe" and has_bottlenecks:
        settings["stride_in_1x1"] = True
    if keys["model.backbone.with_cp"]:
        settings["checkpointing"] = True
    kind = translation.hyperparameters["backbone"][CLASS_PATH]
    for key, usual in _STRIDES.get(kind, {}).items():
        value = keys[f"model.backbone.{key}"]
        if value is not None and list(value)[: len(usual)] != usual:
            keys.name_left(f"model.backbone.{key}")
    for key, usual in _NECK.items():
        if kind == RESNET_FPN and keys[f"model.neck.{key}"] not in (None, usual):
            keys.name_left(f"model.neck.{key}")
    return {"backbone": {INIT_ARGS: settings}}


def _swin(keys: SourceKeys) -> dict[str, Any]:
    drop_path = keys["model.backbone.drop_path_rate"]
    for key, usual in _SWIN.items():
        if keys[f"model.backbone.{key}"] not in (None, usual):
            keys.name_left(f"model.backbone.{key}")
    for key, usual in _NECK.items():
        if keys[f"model.neck.{key}"] not in (None, usual):
            keys.name_left(f"model.neck.{key}")
    return {
        "drop_path": 0.1 if drop_path is None else drop_path,
        "frozen_stages": keys["model.backbone.frozen_stages"] + 1,
        "checkpointing": bool(keys["model.backbone.with_cp"]),
    }


def _rpn(keys: SourceKeys, translation: Translation) -> dict[str, Any]:
    scales, strides = keys[f"{_RPN}anchor_generator.scales"], keys[f"{_RPN}anchor_generator.strides"]
    ratios = keys[f"{_RPN}anchor_generator.ratios"]
    anchors: dict[str, Any] = {"ratios": [float(ratio) for ratio in ratios]}
    if scales and strides and (len(strides) == 1 or len(scales) == 1):
        anchors["sizes"] = [float(scale * stride) for stride in strides for scale in scales]
    elif scales:
        keys.name_left(f"{_RPN}anchor_generator.scales")
    settings: dict[str, Any] = {
        "anchors": anchors,
        "cross_boundary_anchors": "ignore" if keys[f"{_TRAIN}rpn.allowed_border"] == 0 else "keep",
    }
    for ours, theirs in (("pre_nms_top_n", "nms_pre"), ("post_nms_top_n", "max_per_img")):
        pair = [keys[f"{_TRAIN}rpn_proposal.{theirs}"], keys[f"{_TEST}rpn.{theirs}"]]
        if None not in pair:
            settings[ours] = pair
    return {"rpn": settings}


def _pooler(keys: SourceKeys, translation: Translation) -> dict[str, Any]:
    extractor = "model.roi_head.bbox_roi_extractor."
    settings: dict[str, Any] = {}
    if (finest := keys[f"{extractor}finest_scale"]) is not None:
        settings["canonical"] = [4, 4.0 * finest]
    if (aligned := keys[f"{extractor}roi_layer.aligned"]) is not None:
        settings["aligned"] = aligned
    if keys[f"{extractor}roi_layer.type"] == "RoIPool":
        settings["operator"] = "pool"
    size = keys["model.roi_head.mask_roi_extractor.roi_layer.output_size"]
    has_own_masks = "mask" in translation.hyperparameters and size is not None
    return {"pooler": settings, **({"mask": {"pooled_size": size}} if has_own_masks else {})}


def _box(keys: SourceKeys, translation: Translation) -> dict[str, Any]:
    """Return what stages share and what they have of their own; deviations are the inverse of our weights."""
    if not translation.detector.startswith("Cascade"):
        stds = keys[f"{_BOX}bbox_coder.target_stds"]
        return {"box": {"box_weights": [1 / std for std in stds]}} if stds else {}
    settings: dict[str, Any] = {}
    stages = range(3)
    stds_of = [keys[f"{_BOX}{stage}.bbox_coder.target_stds"] for stage in stages]
    if all(stds_of):
        settings["box_weights"], *settings["stage_box_weights"] = [[1 / std for std in stds] for stds in stds_of]
    ious = [keys[f"{_TRAIN}rcnn.{stage}.assigner.pos_iou_thr"] for stage in stages]
    if None not in ious:
        settings |= {"positive_iou": ious[0], "negative_iou": ious[0], "stage_ious": ious[1:]}
    for ours, theirs in (("samples_per_image", "num"), ("positive_fraction", "pos_fraction")):
        if (value := keys[f"{_TRAIN}rcnn.0.sampler.{theirs}"]) is not None:
            settings[ours] = value
    if weights := keys["model.roi_head.stage_loss_weights"]:
        settings["loss_weights"] = [float(weight) for weight in weights]
    return {"box": settings}


def _losses(keys: SourceKeys, translation: Translation) -> dict[str, Any]:
    """Return the losses of boxes; what only one kind of loss, coder, anchor or suppression has here is checked."""
    for key, ours in _ONLY.items():
        if keys[key] not in (None, ours):
            keys.name_left(key)
    first = f"{_BOX}0." if translation.detector.startswith("Cascade") else _BOX
    settings: dict[str, Any] = {}
    for head, ours in ((_RPN, {"rpn": "box_loss_beta"}), (first, {"box": "loss_beta"})):
        kind = keys[f"{head}loss_bbox.type"]
        ((section, key),) = ours.items()
        if kind in ("L1Loss", "SmoothL1Loss"):
            beta = 0.0 if kind == "L1Loss" else keys[f"{head}loss_bbox.beta"] or 1.0
            settings[section] = {key: beta}
        elif kind is not None:
            keys.name_left(f"{head}loss_bbox.type")
    return settings
