"""Configurations that detectron2's LazyConfig writes, under the keys of its other configurations."""

import math
import re
from collections.abc import Mapping
from typing import Any

from lightning_rcnn.checkpoints.configs.detectron2_lazy_run import input_of, solver_of

DROP_PATH, CHECKPOINTING = "MODEL.VIT.DROP_PATH", "MODEL.VIT.CHECKPOINTING"
SQUARE_PAD, LOW_QUALITY = "INPUT.SQUARE_PAD", "MODEL.RPN.LOW_QUALITY"
"""Keys of ours for what a vision transformer and a matcher of anchors have: the other configurations have none of it.
A matcher allows matches of low quality only if it is told to."""
_AT_TEST = {
    "test_score_thresh": "MODEL.ROI_HEADS.SCORE_THRESH_TEST",
    "test_nms_thresh": "MODEL.ROI_HEADS.NMS_THRESH_TEST",
    "test_topk_per_image": "TEST.DETECTIONS_PER_IMAGE",
}
"""Thresholds of a predictor of boxes; of a cascade those of the last one count."""
_BODY = ("model.backbone.bottom_up.", "model.backbone.")
_OTHER_NAMES: dict[str, str] = {
    "model.pixel_mean": "MODEL.PIXEL_MEAN",
    "model.pixel_std": "MODEL.PIXEL_STD",
    "model.input_format": "INPUT.FORMAT",
    **{f"{body}freeze_at": "MODEL.BACKBONE.FREEZE_AT" for body in _BODY},
    **{f"{body}stages.stride_in_1x1": "MODEL.RESNETS.STRIDE_IN_1X1" for body in _BODY},
    **{f"{body}stages.depth": "MODEL.RESNETS.DEPTH" for body in _BODY},
    "model.backbone.fuse_type": "MODEL.FPN.FUSE_TYPE",
    "model.backbone.net.drop_path_rate": DROP_PATH,
    "model.backbone.net.use_act_checkpoint": CHECKPOINTING,
    "model.backbone.square_pad": SQUARE_PAD,
    "model.proposal_generator.anchor_generator.sizes": "MODEL.ANCHOR_GENERATOR.SIZES",
    "model.proposal_generator.anchor_generator.aspect_ratios": "MODEL.ANCHOR_GENERATOR.ASPECT_RATIOS",
    "model.proposal_generator.anchor_generator.offset": "MODEL.ANCHOR_GENERATOR.OFFSET",
    "model.proposal_generator.anchor_matcher.thresholds": "MODEL.RPN.IOU_THRESHOLDS",
    "model.proposal_generator.anchor_matcher.labels": "MODEL.RPN.IOU_LABELS",
    "model.proposal_generator.anchor_matcher.allow_low_quality_matches": LOW_QUALITY,
    "model.proposal_generator.box2box_transform.weights": "MODEL.RPN.BBOX_REG_WEIGHTS",
    "model.proposal_generator.batch_size_per_image": "MODEL.RPN.BATCH_SIZE_PER_IMAGE",
    "model.proposal_generator.positive_fraction": "MODEL.RPN.POSITIVE_FRACTION",
    "model.proposal_generator.nms_thresh": "MODEL.RPN.NMS_THRESH",
    "model.proposal_generator.min_box_size": "MODEL.PROPOSAL_GENERATOR.MIN_SIZE",
    "model.proposal_generator.anchor_boundary_thresh": "MODEL.RPN.BOUNDARY_THRESH",
    "model.proposal_generator.smooth_l1_beta": "MODEL.RPN.SMOOTH_L1_BETA",
    "model.proposal_generator.box_reg_loss_type": "MODEL.RPN.BBOX_REG_LOSS_TYPE",
    "model.proposal_generator.in_features": "MODEL.RPN.IN_FEATURES",
    "model.roi_heads.box_in_features": "MODEL.ROI_HEADS.IN_FEATURES",
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
            ("keypoint_pooler", "ROI_KEYPOINT_HEAD"),
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
            ("cls_agnostic_bbox_reg", "MODEL.ROI_BOX_HEAD.CLS_AGNOSTIC_BBOX_REG"),
            ("smooth_l1_beta", "MODEL.ROI_BOX_HEAD.SMOOTH_L1_BETA"),
            ("box_reg_loss_type", "MODEL.ROI_BOX_HEAD.BBOX_REG_LOSS_TYPE"),
            ("loss_weight.loss_box_reg", "MODEL.ROI_BOX_HEAD.BBOX_REG_LOSS_WEIGHT"),
            ("box2box_transform.weights", "MODEL.ROI_BOX_HEAD.BBOX_REG_WEIGHTS"),
            ("use_fed_loss", "MODEL.ROI_BOX_HEAD.USE_FED_LOSS"),
            ("use_sigmoid_ce", "MODEL.ROI_BOX_HEAD.USE_SIGMOID_CE"),
            ("fed_loss_num_classes", "MODEL.ROI_BOX_HEAD.FED_LOSS_NUM_CLASSES"),
        )
    },
    **{f"model.roi_heads.box_predictor.{theirs}": ours for theirs, ours in _AT_TEST.items()},
    "model.roi_heads.keypoint_head.loss_weight": "MODEL.ROI_KEYPOINT_HEAD.LOSS_WEIGHT",
    "optimizer.lr": "SOLVER.BASE_LR",
    "optimizer.momentum": "SOLVER.MOMENTUM",
    "optimizer.nesterov": "SOLVER.NESTEROV",
    "optimizer.weight_decay": "SOLVER.WEIGHT_DECAY",
    "optimizer.params.weight_decay_norm": "SOLVER.WEIGHT_DECAY_NORM",
    "optimizer.params.base_lr": "SOLVER.BASE_LR",
    "optimizer.params.bias_lr_factor": "SOLVER.BIAS_LR_FACTOR",
    "optimizer.params.weight_decay_bias": "SOLVER.WEIGHT_DECAY_BIAS",
    "optimizer.betas": "SOLVER.BETAS",
    "train.max_iter": "SOLVER.MAX_ITER",
    "train.amp.enabled": "SOLVER.AMP.ENABLED",
    "train.checkpointer.period": "SOLVER.CHECKPOINT_PERIOD",
    "train.checkpoint_period": "SOLVER.CHECKPOINT_PERIOD",
    "lr_multiplier.scheduler.milestones": "SOLVER.STEPS",
    "lr_multiplier.warmup_method": "SOLVER.WARMUP_METHOD",
    "lr_multiplier.warmup_factor": "SOLVER.WARMUP_FACTOR",
    "dataloader.train.total_batch_size": "SOLVER.IMS_PER_BATCH",
    "dataloader.train.dataset.filter_empty": "DATALOADER.FILTER_EMPTY_ANNOTATIONS",
    "dataloader.train.dataset.min_keypoints": "MODEL.ROI_KEYPOINT_HEAD.MIN_KEYPOINTS_PER_IMAGE",
    "dataloader.train.mapper.instance_mask_format": "INPUT.MASK_FORMAT",
    "dataloader.train.sampler.repeat_factors.repeat_thresh": "DATALOADER.REPEAT_THRESHOLD",
}
DEFAULTS_OF_LAZY: dict[str, Any] = {
    "MODEL.BACKBONE.FREEZE_AT": 0,
    "MODEL.RESNETS.STRIDE_IN_1X1": False,
    "MODEL.ROI_HEADS.SCORE_THRESH_TEST": 0.0,
    "SOLVER.MOMENTUM": 0.0,
    "SOLVER.WEIGHT_DECAY": 0.0,
    "SOLVER.WEIGHT_DECAY_NORM": None,
    "SOLVER.WARMUP_ITERS": 0,
    "lr_multiplier.scheduler.start_value": 1.0,
    "lr_multiplier.scheduler.end_value": 0.0,
    DROP_PATH: 0.0,
}
"""Defaults of constructors that differ from those of the other configurations."""
_TOLD_OTHERWISE = re.compile(
    r".*(_target_|in_features?|out_features|in_channels|out_channels|num_anchors|strides|scales|norm|conv_norm"
    r"|conv_dims|fc_dims|depth|pooling_type)|.*\.num_classes"
    r"|model\.backbone\..*|.*\.input_shape.*|.*\.conv_norm.*|model\.roi_heads\.res5\..*"
    r"|model\.roi_heads\.keypoint_head\.(num_keypoints|loss_normalizer)"
    r"|.*\.(pre_nms_topk|post_nms_topk|labels|proposal_matchers\.\d\.thresholds)"
    r"|.*\.box_predictors\.\d\.(box2box_transform\.weights|test_\w+)"
)
"""Keys of the network, which the weights tell, and of lists and pairs, which functions below read."""
_OF_STAGE = re.compile(r"(model\.roi_heads\.box_predictors\.)(\d)(\..+)")
"""Keys of a stage of a cascade; what is not read of each is ours of the first stage in all."""
_OF_THE_RUN = re.compile(
    r"train\.(output_dir|init_checkpoint|max_iter|device|seed|eval_period|log_period|cudnn_benchmark|float32_precision)"
    r"|train\.(amp|ddp|checkpointer|model_ema\.(?!enabled))\b.*|dataloader\.(test|evaluator)\..*"
    r"|dataloader\.train\.(num_workers|aspect_ratio_grouping|dataset(\.(_target_|names|check_consistency)\b.*)?)"
    r"|dataloader\.train\.sampler\.(_target_|(repeat_factors\.)?(dataset|dataset_dicts|size|shuffle)\b.*)"
    r"|dataloader\.train\.mapper\.(is_train|image_format|use_instance_mask|recompute_boxes|augmentations\..*)"
    r"|lr_multiplier\.(scheduler\.(values|num_updates).*|warmup_length|_target_)|optimizer\._target_"
    r"|optimizer\.params\.(lr_factor_func|overrides|model)\b.*|.*\._target_"
)
"""Keys that have no effect on weights, or that functions below read."""
_CLASSES = re.compile(
    r"GeneralizedRCNN|ProposalNetwork|FPN|LastLevelMaxPool|SimpleFeaturePyramid|ViT|partial|RegNet|SimpleStem"
    r"|ResNet|make_stage|make_default_stages|BasicStem|BasicBlock|(Deform|Res)?Bottleneck(Block)?"
    r"|RPN|StandardRPNHead|DefaultAnchorGenerator|Matcher|Box2BoxTransform|(Standard|Cascade|Res5)ROIHeads|ROIPooler"
    r"|FastRCNNConvFCHead|FastRCNNOutputLayers|MaskRCNNConvUpsampleHead|KRCNNConvDeconvUpsampleHead"
    r"|PointRendMaskHead|StandardPointHead|get_fed_loss_cls_weights"
    r"|DatasetMapper|build_detection_train_loader|get_detection_dataset_dicts"
)
"""Classes and functions that a configuration builds a model or a loader of, and whose arguments are read here."""
_BUILT = re.compile(r"(model\..+\.|dataloader\.train\.(mapper\.|dataset\.|))_target_")


def from_lazy(leaves: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of LazyConfig's YAML under the keys of detectron2's other configurations.

    Args:
        leaves: settings by dotted key; what has no other key, and describes neither the network nor the run, keeps its.
    """
    given: dict[str, Any] = {
        "MODEL.META_ARCHITECTURE": str(leaves.get("model._target_", "")).rpartition(".")[2],
        "MODEL.MASK_ON": any(key.startswith("model.roi_heads.mask_head.") for key in leaves),
        "MODEL.KEYPOINT_ON": any(key.startswith("model.roi_heads.keypoint_head.") for key in leaves),
        LOW_QUALITY: not any(key.startswith("model.proposal_generator.anchor_matcher.") for key in leaves),
    }
    for key, value in leaves.items():
        of_stage = _OF_STAGE.fullmatch(key)
        is_usual = key.endswith(".allow_low_quality_matches") and not value  # of regions
        if key in _OTHER_NAMES:
            given[_OTHER_NAMES[key]] = value
        elif _BUILT.fullmatch(key) and not _CLASSES.fullmatch(str(value).rpartition(".")[2]):
            given[key] = value
        elif is_usual or _TOLD_OTHERWISE.fullmatch(key) or _OF_THE_RUN.fullmatch(key):
            continue
        elif of_stage is None or of_stage[2] == "0" or value != leaves.get(f"{of_stage[1]}0{of_stage[3]}"):
            given[key] = value
    return given | _top_n(leaves) | _cascade(leaves) | _keypoint(leaves) | solver_of(leaves) | input_of(leaves)


def _top_n(leaves: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for theirs in ("pre_nms_topk", "post_nms_topk"):
        if numbers := leaves.get(f"model.proposal_generator.{theirs}"):
            keys = [f"MODEL.RPN.{theirs.upper()}_{phase}" for phase in ("TRAIN", "TEST")]
            found |= dict(zip(keys, numbers, strict=True))
    ratios = leaves.get("model.proposal_generator.anchor_generator.aspect_ratios")
    if ratios and not isinstance(ratios[0], list):
        found["MODEL.ANCHOR_GENERATOR.ASPECT_RATIOS"] = [ratios]
    return found


def _cascade(leaves: Mapping[str, Any]) -> dict[str, Any]:
    heads = "model.roi_heads."
    last = max((match[2] for match in map(_OF_STAGE.fullmatch, leaves) if match), default="")
    at_test = {ours: f"{heads}box_predictors.{last}.{theirs}" for theirs, ours in _AT_TEST.items()}
    found = {ours: leaves[key] for ours, key in at_test.items() if key in leaves}
    ious: list[float] = []
    weights: list[Any] = []
    while (thresholds := leaves.get(f"{heads}proposal_matchers.{len(ious)}.thresholds")) is not None:
        weights.append(leaves.get(f"{heads}box_predictors.{len(ious)}.box2box_transform.weights"))
        if len(thresholds) > 1:  # ours have one of a stage
            found[f"{heads}proposal_matchers.{len(ious)}.thresholds"] = thresholds
        ious.append(thresholds[0])
    if not ious:
        return found
    return found | {
        "MODEL.ROI_BOX_CASCADE_HEAD.IOUS": ious,
        "MODEL.ROI_BOX_CASCADE_HEAD.BBOX_REG_WEIGHTS": weights,
        "MODEL.ROI_HEADS.IOU_THRESHOLDS": ious[:1],
        "MODEL.ROI_BOX_HEAD.BBOX_REG_WEIGHTS": weights[0],
    }


def _keypoint(leaves: Mapping[str, Any]) -> dict[str, Any]:
    """Return what divides the loss of keypoints: those that are visible, or a number, of which ours is all."""
    heads = "model.roi_heads."
    number = leaves.get(f"{heads}keypoint_head.loss_normalizer")
    if number is None:
        return {}
    static = [f"{heads}keypoint_head.num_keypoints", f"{heads}batch_size_per_image", f"{heads}positive_fraction"]
    found = {"MODEL.ROI_KEYPOINT_HEAD.NORMALIZE_LOSS_BY_VISIBLE_KEYPOINTS": number == "visible"}
    if number in ("visible", math.prod(leaves.get(key, 1) for key in static)):
        return found
    return found | {f"{heads}keypoint_head.loss_normalizer": number}
