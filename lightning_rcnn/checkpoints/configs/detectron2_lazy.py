"""Configurations that detectron2's LazyConfig writes, under the keys of its other configurations."""

import re
from collections.abc import Mapping
from typing import Any

_BODY = ("model.backbone.bottom_up.", "model.backbone.")
_OTHER_NAMES: dict[str, str] = {
    "model.pixel_mean": "MODEL.PIXEL_MEAN",
    "model.pixel_std": "MODEL.PIXEL_STD",
    "model.input_format": "INPUT.FORMAT",
    **{f"{body}freeze_at": "MODEL.BACKBONE.FREEZE_AT" for body in _BODY},
    **{f"{body}stages.stride_in_1x1": "MODEL.RESNETS.STRIDE_IN_1X1" for body in _BODY},
    **{f"{body}stages.depth": "MODEL.RESNETS.DEPTH" for body in _BODY},
    "model.backbone.fuse_type": "MODEL.FPN.FUSE_TYPE",
    "model.proposal_generator.anchor_generator.sizes": "MODEL.ANCHOR_GENERATOR.SIZES",
    "model.proposal_generator.anchor_generator.aspect_ratios": "MODEL.ANCHOR_GENERATOR.ASPECT_RATIOS",
    "model.proposal_generator.anchor_generator.offset": "MODEL.ANCHOR_GENERATOR.OFFSET",
    "model.proposal_generator.anchor_matcher.thresholds": "MODEL.RPN.IOU_THRESHOLDS",
    "model.proposal_generator.anchor_matcher.labels": "MODEL.RPN.IOU_LABELS",
    "model.proposal_generator.box2box_transform.weights": "MODEL.RPN.BBOX_REG_WEIGHTS",
    "model.proposal_generator.batch_size_per_image": "MODEL.RPN.BATCH_SIZE_PER_IMAGE",
    "model.proposal_generator.positive_fraction": "MODEL.RPN.POSITIVE_FRACTION",
    "model.proposal_generator.nms_thresh": "MODEL.RPN.NMS_THRESH",
    "model.proposal_generator.min_box_size": "MODEL.PROPOSAL_GENERATOR.MIN_SIZE",
    "model.proposal_generator.anchor_boundary_thresh": "MODEL.RPN.BOUNDARY_THRESH",
    "model.proposal_generator.smooth_l1_beta": "MODEL.RPN.SMOOTH_L1_BETA",
    "model.proposal_generator.box_reg_loss_type": "MODEL.RPN.BBOX_REG_LOSS_TYPE",
    "model.roi_heads.num_classes": "MODEL.ROI_HEADS.NUM_CLASSES",
    "model.roi_heads.batch_size_per_image": "MODEL.ROI_HEADS.BATCH_SIZE_PER_IMAGE",
    "model.roi_heads.positive_fraction": "MODEL.ROI_HEADS.POSITIVE_FRACTION",
    "model.roi_heads.proposal_append_gt": "MODEL.ROI_HEADS.PROPOSAL_APPEND_GT",
    "model.roi_heads.train_on_pred_boxes": "MODEL.ROI_BOX_HEAD.TRAIN_ON_PRED_BOXES",
    "model.roi_heads.proposal_matcher.thresholds": "MODEL.ROI_HEADS.IOU_THRESHOLDS",
    "model.roi_heads.proposal_matcher.labels": "MODEL.ROI_HEADS.IOU_LABELS",
    **{
        f"model.roi_heads.{pooler}.{theirs}": f"MODEL.{head}.{name}"
        for pooler, head in (
            ("pooler", "ROI_BOX_HEAD"),
            ("box_pooler", "ROI_BOX_HEAD"),
            ("mask_pooler", "ROI_MASK_HEAD"),
        )
        for theirs, name in (
            ("output_size", "POOLER_RESOLUTION"),
            ("sampling_ratio", "POOLER_SAMPLING_RATIO"),
            ("pooler_type", "POOLER_TYPE"),
        )
    },
    **{
        f"model.roi_heads.{predictor}.{theirs}": ours
        for predictor in ("box_predictor", "box_predictors.0")
        for theirs, ours in (
            ("test_score_thresh", "MODEL.ROI_HEADS.SCORE_THRESH_TEST"),
            ("test_nms_thresh", "MODEL.ROI_HEADS.NMS_THRESH_TEST"),
            ("test_topk_per_image", "TEST.DETECTIONS_PER_IMAGE"),
            ("cls_agnostic_bbox_reg", "MODEL.ROI_BOX_HEAD.CLS_AGNOSTIC_BBOX_REG"),
            ("smooth_l1_beta", "MODEL.ROI_BOX_HEAD.SMOOTH_L1_BETA"),
            ("box_reg_loss_type", "MODEL.ROI_BOX_HEAD.BBOX_REG_LOSS_TYPE"),
            ("loss_weight.loss_box_reg", "MODEL.ROI_BOX_HEAD.BBOX_REG_LOSS_WEIGHT"),
            ("box2box_transform.weights", "MODEL.ROI_BOX_HEAD.BBOX_REG_WEIGHTS"),
            ("use_fed_loss", "MODEL.ROI_BOX_HEAD.USE_FED_LOSS"),
            ("use_sigmoid_ce", "MODEL.ROI_BOX_HEAD.USE_SIGMOID_CE"),
        )
    },
    "optimizer.lr": "SOLVER.BASE_LR",
    "optimizer.momentum": "SOLVER.MOMENTUM",
    "optimizer.nesterov": "SOLVER.NESTEROV",
    "optimizer.weight_decay": "SOLVER.WEIGHT_DECAY",
    "optimizer.params.weight_decay_norm": "SOLVER.WEIGHT_DECAY_NORM",
    "optimizer.params.base_lr": "SOLVER.BASE_LR",
    "train.max_iter": "SOLVER.MAX_ITER",
    "train.amp.enabled": "SOLVER.AMP.ENABLED",
    "train.checkpointer.period": "SOLVER.CHECKPOINT_PERIOD",
    "train.checkpoint_period": "SOLVER.CHECKPOINT_PERIOD",
    "lr_multiplier.scheduler.milestones": "SOLVER.STEPS",
    "lr_multiplier.warmup_method": "SOLVER.WARMUP_METHOD",
    "lr_multiplier.warmup_factor": "SOLVER.WARMUP_FACTOR",
    "dataloader.train.total_batch_size": "SOLVER.IMS_PER_BATCH",
}
DEFAULTS_OF_LAZY: dict[str, Any] = {
    "MODEL.BACKBONE.FREEZE_AT": 0,
    "MODEL.RESNETS.STRIDE_IN_1X1": False,
    "MODEL.ROI_HEADS.SCORE_THRESH_TEST": 0.0,
}
"""Defaults of constructors that differ from those of the other configurations."""
_PHASES = ("TRAIN", "TEST")
SCALE_JITTER = "INPUT.SCALE_JITTER"
"""Key of ours: [smallest factor, largest factor, height, width] of `ResizeScale` and `FixedSizeCrop`."""
_TOLD_OTHERWISE = re.compile(
    r".*(_target_|in_features?|out_features|in_channels|out_channels|num_anchors|strides|scales|norm|conv_norm"
    r"|conv_dims|fc_dims|depth|num_classes|allow_low_quality_matches|pooling_type)"
    r"|model\.backbone\..*|.*\.input_shape.*|.*\.conv_norm.*|model\.roi_heads\.res5\..*"
    r"|.*\.(pre_nms_topk|post_nms_topk|labels|proposal_matchers\.\d\.thresholds|box_predictors\.\d\..*)"
)
"""Keys of the network, which the weights tell, and of lists and pairs, which functions below read."""
_LOSS_OF_STAGE = re.compile(
    r"(model\.roi_heads\.box_predictors\.)\d(\.(smooth_l1_beta|box_reg_loss_type|loss_weight.*))"
)
"""Keys of the losses of a cascade; ours are those of the first stage in all."""
_OF_THE_RUN = re.compile(
    r"train\..*|dataloader\.(test|evaluator)\..*|dataloader\.train\.(dataset|num_workers|sampler)\b.*"
    r"|dataloader\.train\.mapper\.(is_train|image_format|use_instance_mask|recompute_boxes|augmentations\..*)"
    r"|lr_multiplier\.(scheduler\.(values|num_updates).*|warmup_length|_target_)|optimizer\.(_target_|params\..*)"
    r"|.*\._target_"
)


def from_lazy(leaves: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of LazyConfig's YAML under the keys of detectron2's other configurations.

    Args:
        leaves: settings by dotted key; what has no other key, and describes neither the network nor the run, keeps its.
    """
    given: dict[str, Any] = {
        "MODEL.META_ARCHITECTURE": str(leaves.get("model._target_", "")).rpartition(".")[2],
        "MODEL.MASK_ON": any(key.startswith("model.roi_heads.mask_head.") for key in leaves),
    }
    for key, value in leaves.items():
        if key in _OTHER_NAMES:
            given[_OTHER_NAMES[key]] = value
        elif of_stage := _LOSS_OF_STAGE.fullmatch(key):
            first = f"{of_stage[1]}0{of_stage[2]}"
            if first not in _OTHER_NAMES or value != leaves.get(first):
                given[key] = value
        elif not (_TOLD_OTHERWISE.fullmatch(key) or _OF_THE_RUN.fullmatch(key)):
            given[key] = value
    return given | _top_n(leaves) | _cascade(leaves) | _solver(leaves) | _input(leaves)


def _top_n(leaves: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for theirs in ("pre_nms_topk", "post_nms_topk"):
        if numbers := leaves.get(f"model.proposal_generator.{theirs}"):
            keys = [f"MODEL.RPN.{theirs.upper()}_{phase}" for phase in _PHASES]
            found |= dict(zip(keys, numbers, strict=True))
    ratios = leaves.get("model.proposal_generator.anchor_generator.aspect_ratios")
    if ratios and not isinstance(ratios[0], list):
        found["MODEL.ANCHOR_GENERATOR.ASPECT_RATIOS"] = [ratios]
    return found


def _cascade(leaves: Mapping[str, Any]) -> dict[str, Any]:
    heads = "model.roi_heads."
    ious: list[float] = []
    weights: list[Any] = []
    while (thresholds := leaves.get(f"{heads}proposal_matchers.{len(ious)}.thresholds")) is not None:
        weights.append(leaves.get(f"{heads}box_predictors.{len(ious)}.box2box_transform.weights"))
        ious.append(thresholds[0])
    if not ious:
        return {}
    return {
        "MODEL.ROI_BOX_CASCADE_HEAD.IOUS": ious,
        "MODEL.ROI_BOX_CASCADE_HEAD.BBOX_REG_WEIGHTS": weights,
        "MODEL.ROI_HEADS.IOU_THRESHOLDS": ious[:1],
        "MODEL.ROI_BOX_HEAD.BBOX_REG_WEIGHTS": weights[0],
    }


def _solver(leaves: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    steps, updates = leaves.get("train.max_iter"), leaves.get("lr_multiplier.scheduler.num_updates")
    if (share := leaves.get("lr_multiplier.warmup_length")) is not None and steps:
        found["SOLVER.WARMUP_ITERS"] = round(share * steps)
    if (milestones := leaves.get("lr_multiplier.scheduler.milestones")) and steps and updates:
        found["SOLVER.STEPS"] = [round(milestone * steps / updates) for milestone in milestones]
    values = leaves.get("lr_multiplier.scheduler.values")
    if values and len(values) > 1:
        found["SOLVER.GAMMA"] = round(values[1] / values[0], 6)
    if "lr_multiplier.scheduler._target_" in leaves:
        kind = str(leaves["lr_multiplier.scheduler._target_"])
        found["SOLVER.LR_SCHEDULER_NAME"] = "WarmupCosineLR" if "Cosine" in kind else "WarmupMultiStepLR"
    if "optimizer._target_" in leaves and not str(leaves["optimizer._target_"]).endswith("SGD"):
        found["optimizer._target_"] = leaves["optimizer._target_"]
    return found


def _input(leaves: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for start, phase in (("dataloader.train.", "TRAIN"), ("dataloader.test.", "TEST")):
        number = 0
        while (kind := leaves.get(f"{start}mapper.augmentations.{number}._target_")) is not None:
            at = f"{start}mapper.augmentations.{number}."
            name = str(kind).rpartition(".")[2]
            if name == "ResizeShortestEdge":
                edges = leaves[f"{at}short_edge_length"]
                found |= {f"INPUT.MIN_SIZE_{phase}": edges, f"INPUT.MAX_SIZE_{phase}": leaves.get(f"{at}max_size")}
                if f"{at}sample_style" in leaves:
                    found["INPUT.MIN_SIZE_TRAIN_SAMPLING"] = leaves[f"{at}sample_style"]
            elif name == "RandomFlip":
                found["INPUT.RANDOM_FLIP"] = "vertical" if leaves.get(f"{at}vertical") else "horizontal"
            elif name == "ResizeScale":
                keys = ("min_scale", "max_scale", "target_height", "target_width")
                found[SCALE_JITTER] = [leaves[f"{at}{key}"] for key in keys]
            elif name != "FixedSizeCrop":
                found[f"{at}_target_"] = kind
            number += 1
    return found
