"""The branches of a detector in mmdetection's configurations: proposals, pooling, boxes."""

from typing import Any

from lightning_rcnn.checkpoints.configs.source_keys import SourceKeys
from lightning_rcnn.checkpoints.translation import OVERLAP_LOSSES, SMOOTH_L1, Translation, part
from lightning_rcnn.plain_data import merge

RPN, _BOX = "model.rpn_head.", "model.roi_head.bbox_head."
_BOX_POOLER, _MASK_POOLER = "model.roi_head.bbox_roi_extractor.", "model.roi_head.mask_roi_extractor."
TRAIN, TEST = "model.train_cfg.", "model.test_cfg."
"""Starts of keys."""
_POOLER_DEFAULTS: dict[str, Any] = {
    "type": "SingleRoIExtractor",
    "finest_scale": 56,
    "roi_layer.type": "RoIAlign",
    "roi_layer.sampling_ratio": 0,
    "roi_layer.aligned": True,
}
"""Settings of a pooler and the values of those that are left out."""
_SOFT_NMS_LIMIT = 1e-3
"""Lowest score that their Soft-NMS leaves if none is given."""
_SOFT_NMS_IOU = 0.3
"""IoU from which on it lowers scores if none is given."""


def read_branches(keys: SourceKeys, translation: Translation) -> dict[str, Any]:
    """Return the settings of the branches that a detector has.

    Args:
        keys: settings of the configuration.
        translation: the detector, as its weights tell it.
    """
    settings: dict[str, Any] = {}
    for section in (_rpn, _pooler, _box, _suppression, _losses):
        settings = merge(settings, section(keys, translation))
    return settings


def _rpn(keys: SourceKeys, translation: Translation) -> dict[str, Any]:
    scales, strides = keys[f"{RPN}anchor_generator.scales"], keys[f"{RPN}anchor_generator.strides"]
    ratios = keys[f"{RPN}anchor_generator.ratios"]
    anchors: dict[str, Any] = {"ratios": [float(ratio) for ratio in ratios]}
    if scales and strides and (len(strides) == 1 or len(scales) == 1):
        anchors["sizes"] = [float(scale * stride) for stride in strides for scale in scales]
    elif scales:
        keys.name_left(f"{RPN}anchor_generator.scales")
    settings: dict[str, Any] = {
        "anchors": anchors,
        "cross_boundary_anchors": "ignore_edge" if keys[f"{TRAIN}rpn.allowed_border"] == 0 else "keep",
    }
    if keys[f"{TRAIN}rpn.allowed_border"] not in (-1, 0):
        keys.name_left(f"{TRAIN}rpn.allowed_border")
    for ours, theirs in (("pre_nms_top_n", "nms_pre"), ("post_nms_top_n", "max_per_img")):
        names = [f"{TRAIN}rpn_proposal.{theirs}", f"{TEST}rpn.{theirs}"]
        pair = [keys[name] for name in names]
        if None not in pair:
            settings[ours] = pair
        else:
            _name_given(keys, names)
    if keys.names_below(f"{TRAIN}rpn.assigner"):
        has_low_quality = keys[f"{TRAIN}rpn.assigner.match_low_quality"] is not False
        least = float(keys[f"{TRAIN}rpn.assigner.min_pos_iou"] or 0.0)
        settings["low_quality_iou"] = least if has_low_quality else 1.0  # none below `positive_iou`
    for phase in (f"{TRAIN}rpn_proposal.", f"{TEST}rpn."):
        if (limit := keys[f"{phase}nms_post"]) is not None and limit < (keys[f"{phase}nms_pre"] or 0):
            keys.name_left(f"{phase}nms_post")  # a limit of each level after the suppression
    for key in ("nms.iou_threshold", "min_bbox_size"):  # ours are those of the test for both
        if keys[f"{TRAIN}rpn_proposal.{key}"] not in (None, keys[f"{TEST}rpn.{key}"]):
            keys.name_left(f"{TRAIN}rpn_proposal.{key}")
    return {"rpn": settings}


def _name_given(keys: SourceKeys, names: list[str]) -> None:
    for name in names:
        if keys.is_given(name):
            keys.name_left(name)


def _pooler(keys: SourceKeys, translation: Translation) -> dict[str, Any]:
    settings: dict[str, Any] = {}
    if (finest := keys[f"{_BOX_POOLER}finest_scale"]) is not None:
        settings["canonical"] = [4, 4.0 * finest]
    if (aligned := keys[f"{_BOX_POOLER}roi_layer.aligned"]) is not None:
        settings["aligned"] = aligned
    if keys[f"{_BOX_POOLER}roi_layer.type"] == "RoIPool":
        settings["operator"] = "pool"
    if "mask" not in translation.hyperparameters or not keys.names_below(_MASK_POOLER.rstrip(".")):
        return {"pooler": settings}
    for key, usual in _POOLER_DEFAULTS.items():  # ours pools for masks as for boxes
        of_masks = keys[f"{_MASK_POOLER}{key}"]
        if (usual if of_masks is None else of_masks) != (
            usual if keys[f"{_BOX_POOLER}{key}"] is None else keys[f"{_BOX_POOLER}{key}"]
        ):
            keys.name_left_value(f"{_MASK_POOLER}{key}", usual)
    size = keys[f"{_MASK_POOLER}roi_layer.output_size"]
    return {"pooler": settings, **({"mask": {"pooled_size": size}} if size is not None else {})}


def _box(keys: SourceKeys, translation: Translation) -> dict[str, Any]:
    """Return what stages share and what they have of their own; deviations are the inverse of our weights."""
    if not translation.detector.startswith("Cascade"):
        stds = keys[f"{_BOX}bbox_coder.target_stds"]
        return {"box": _matching(keys, f"{TRAIN}rcnn.") | ({"box_weights": [1 / std for std in stds]} if stds else {})}
    settings: dict[str, Any] = {}
    heads, rules = _stages(keys, _BOX), _stages(keys, f"{TRAIN}rcnn.")
    stds_of = [keys[f"{head}bbox_coder.target_stds"] for head in heads]
    if all(stds_of):
        settings["box_weights"], *settings["stage_box_weights"] = [[1 / std for std in stds] for stds in stds_of]
    ious = [keys[f"{rule}assigner.pos_iou_thr"] for rule in rules]
    if None not in ious:
        settings |= {"positive_iou": ious[0], "negative_iou": ious[0], "stage_ious": ious[1:]}
        for rule, iou in zip(rules, ious, strict=True):
            if keys[f"{rule}assigner.neg_iou_thr"] not in (None, iou):
                keys.name_left(f"{rule}assigner.neg_iou_thr")
    matching = [_matching(keys, rule) for rule in rules]
    settings |= matching[0]
    for rule, own in zip(rules, matching, strict=True):
        if own != matching[0]:
            keys.name_left_value(f"{rule}assigner.match_low_quality", True)
    for ours, theirs in (("samples_per_image", "num"), ("positive_fraction", "pos_fraction")):
        first, *later = [keys[f"{rule}sampler.{theirs}"] for rule in rules]
        if first is not None:
            settings[ours] = first
        for rule, value in zip(rules[1:], later, strict=True):
            if value != first:
                keys.name_left(f"{rule}sampler.{theirs}")
    if weights := keys["model.roi_head.stage_loss_weights"]:
        settings["loss_weights"] = [float(weight) for weight in weights]
    return {"box": settings}


def _matching(keys: SourceKeys, rule: str) -> dict[str, Any]:
    """Return whether the best region of an object learns it, which their assigner does if nothing else is said."""
    if not keys.names_below(f"{rule}assigner"):
        return {}
    if keys[f"{rule}assigner.match_low_quality"] is False:
        return {"low_quality_iou": None}
    return {"low_quality_iou": float(keys[f"{rule}assigner.min_pos_iou"] or 0.0)}


def _stages(keys: SourceKeys, start: str) -> list[str]:
    """Return the starts of the keys of three stages, which may share one mapping."""
    return [f"{start}{stage}." if keys.names_below(f"{start}{stage}") else start for stage in range(3)]


def _suppression(keys: SourceKeys, translation: Translation) -> dict[str, Any]:
    """Return the kind of NMS; ours has one limit of scores before and after they are lowered."""
    across = {"nms_across_classes": True} if keys[f"{TEST}rcnn.nms.class_agnostic"] else {}
    if keys[f"{TEST}rcnn.nms.type"] != "soft_nms":
        return {"box": across} if across else {}
    lowest, limit = keys[f"{TEST}rcnn.nms.min_score"], keys[f"{TEST}rcnn.score_thr"]
    if limit is not None and (_SOFT_NMS_LIMIT if lowest is None else lowest) != limit:
        keys.name_left_value(f"{TEST}rcnn.nms.min_score", _SOFT_NMS_LIMIT)
    threshold = {} if keys.is_given(f"{TEST}rcnn.nms.iou_threshold") else {"nms_iou": _SOFT_NMS_IOU}
    return {"box": {"nms": "soft", **threshold, **across}}


def _losses(keys: SourceKeys, translation: Translation) -> dict[str, Any]:
    """Return the losses of boxes; those of later stages of a cascade must be those of the first."""
    heads = _stages(keys, _BOX) if translation.detector.startswith("Cascade") else [_BOX]
    losses = [_box_loss(keys, head) for head in heads]
    for name in ("type", "beta", "loss_weight"):
        values = [keys[f"{head}loss_bbox.{name}"] for head in heads]
        for head, value, loss in zip(heads, values, losses, strict=True):
            if value not in (None, values[0]) and loss not in (None, losses[0]):
                keys.name_left(f"{head}loss_bbox.{name}")
    of_rpn = _box_loss(keys, RPN)
    return {
        **({"rpn": {"box_loss": of_rpn}} if of_rpn is not None else {}),
        **({"box": {"box_loss": losses[0]}} if losses[0] is not None else {}),
    }


def _box_loss(keys: SourceKeys, head: str) -> dict[str, Any] | None:
    """Return the loss of boxes of a head; None if it is not stated, or has no counterpart."""
    kind, beta = keys[f"{head}loss_bbox.type"], keys[f"{head}loss_bbox.beta"]
    weight, is_of_boxes = keys[f"{head}loss_bbox.loss_weight"], bool(keys[f"{head}reg_decoded_bbox"])
    if weight == 0:  # a head that is not trained
        keys.name_left(f"{head}loss_bbox.loss_weight")
    weight = float(weight or 1.0)
    if kind in OVERLAP_LOSSES and is_of_boxes:
        return part(OVERLAP_LOSSES[kind], weight=weight)
    if is_of_boxes:  # a distance of corners in pixels
        keys.name_left(f"{head}reg_decoded_bbox")
    if kind in ("L1Loss", "SmoothL1Loss"):
        return part(SMOOTH_L1, weight=weight, beta=0.0 if kind == "L1Loss" else 1.0 if beta is None else float(beta))
    if kind is not None:
        keys.name_left(f"{head}loss_bbox.type")
    elif keys.is_given(f"{head}loss_bbox.loss_weight"):
        keys.name_left(f"{head}loss_bbox.loss_weight")
    return None
