"""The branches of a detector in detectron2's configurations: proposals, pooling, boxes, keypoints, points of masks."""

from typing import Any

from lightning_rcnn.checkpoints.configs.detectron2_lazy import LOW_QUALITY
from lightning_rcnn.checkpoints.configs.source_keys import SourceKeys
from lightning_rcnn.checkpoints.configs.training import nested
from lightning_rcnn.checkpoints.translation import OVERLAP_LOSSES, SMOOTH_L1, Translation, part
from lightning_rcnn.errors import InputError
from lightning_rcnn.plain_data import merge

OVERLAP_TYPES = {"giou": "GIoULoss", "diou": "DIoULoss", "ciou": "CIoULoss"}
"""Their names of the losses of boxes by overlap, and ours."""
POINTS: dict[str, str] = {
    "MODEL.POINT_HEAD.TRAIN_NUM_POINTS": "mask.num_points",
    "MODEL.POINT_HEAD.OVERSAMPLE_RATIO": "mask.oversample",
    "MODEL.POINT_HEAD.IMPORTANCE_SAMPLE_RATIO": "mask.importance",
    "MODEL.POINT_HEAD.SUBDIVISION_STEPS": "mask.subdivisions",
    "MODEL.POINT_HEAD.SUBDIVISION_NUM_POINTS": "mask.subdivision_points",
}
"""Settings of PointRend that only have another name here."""
POOLERS: dict[str, dict[str, Any]] = {
    "ROIAlignV2": {"operator": "align", "aligned": True},
    "ROIAlign": {"operator": "align", "aligned": False},
    "ROIPool": {"operator": "pool"},
}
_REGION_MAPS = {"C4": ["res4"], "DC5": ["res5"], "FPN": ["p2", "p3", "p4", "p5"]}
"""Maps that regions are pooled from, by the end of our backbone's name."""


def read_branches(keys: SourceKeys, translation: Translation) -> dict[str, Any]:
    """Return the settings of the branches that a detector has.

    Args:
        keys: settings of the configuration.
        translation: the detector, as its weights tell it.

    Raises:
        InputError: a matcher has no thresholds, or too many.
    """
    settings: dict[str, Any] = {}
    for section in (_rpn, _pooler, _box, _keypoint, _point_rend):
        settings = merge(settings, section(keys, translation))
    return settings


def has_class(translation: Translation, ending: str) -> bool:
    """Tell whether the class of the backbone has this ending."""
    return translation.hyperparameters["backbone"]["class_path"].endswith(ending)


def kind_of(translation: Translation) -> str:
    """Return what the heads stand on: "C4", "DC5" or "FPN", a pyramid of any kind."""
    return next(kind for kind in _REGION_MAPS if has_class(translation, kind) or kind == "FPN")


def _rpn(keys: SourceKeys, translation: Translation) -> dict[str, Any]:
    if "rpn" not in translation.hyperparameters:
        return {}
    negative, positive = _two_thresholds(keys, "MODEL.RPN.IOU_THRESHOLDS")
    anchors: dict[str, Any] = {}
    sizes = keys["MODEL.ANCHOR_GENERATOR.SIZES"]
    if not has_class(translation, "FPN") or all(len(level) == 1 for level in sizes):
        anchors["sizes"] = [float(size) for level in sizes for size in level]
    else:
        keys.name_left("MODEL.ANCHOR_GENERATOR.SIZES")
    ratios = keys["MODEL.ANCHOR_GENERATOR.ASPECT_RATIOS"]
    if all(level == ratios[0] for level in ratios):
        anchors["ratios"] = [float(ratio) for ratio in ratios[0]]
    else:
        keys.name_left("MODEL.ANCHOR_GENERATOR.ASPECT_RATIOS")
    settings: dict[str, Any] = {
        "anchors": anchors,
        "negative_iou": negative,
        "positive_iou": positive,
        "low_quality_iou": 1.0 if keys[LOW_QUALITY] is False else 0.0,  # 1: none below `positive_iou`
        "box_loss": _box_loss(keys, "MODEL.RPN"),
        "pre_nms_top_n": [keys[f"MODEL.RPN.PRE_NMS_TOPK_{phase}"] for phase in ("TRAIN", "TEST")],
        "post_nms_top_n": [keys[f"MODEL.RPN.POST_NMS_TOPK_{phase}"] for phase in ("TRAIN", "TEST")],
    }
    kind = kind_of(translation)
    if keys["MODEL.RPN.IN_FEATURES"] not in (None, _REGION_MAPS[kind] + ["p6"] * (kind == "FPN")):
        keys.name_left("MODEL.RPN.IN_FEATURES")
    margin = keys["MODEL.RPN.BOUNDARY_THRESH"]
    settings["cross_boundary_anchors"] = "discard" if margin == 0 else "keep"
    if margin > 0:
        keys.name_left("MODEL.RPN.BOUNDARY_THRESH")
    return {"rpn": settings}


def _pooler(keys: SourceKeys, translation: Translation) -> dict[str, Any]:
    if "box" not in translation.hyperparameters:
        return {}
    kind, ratio = keys["MODEL.ROI_BOX_HEAD.POOLER_TYPE"], keys["MODEL.ROI_BOX_HEAD.POOLER_SAMPLING_RATIO"]
    settings = {"sampling_ratio": ratio, **POOLERS.get(kind, {})}
    if kind not in POOLERS:
        keys.name_left("MODEL.ROI_BOX_HEAD.POOLER_TYPE")
    if "mask" not in translation.hyperparameters or translation.detector == "PointRend":
        return {"pooler": settings}
    if has_class(translation, "C4"):  # masks come from the regions of boxes
        return {"pooler": settings}
    for name in ("TYPE", "SAMPLING_RATIO"):  # masks and boxes are pooled alike
        if keys[f"MODEL.ROI_MASK_HEAD.POOLER_{name}"] != keys[f"MODEL.ROI_BOX_HEAD.POOLER_{name}"]:
            keys.name_left(f"MODEL.ROI_MASK_HEAD.POOLER_{name}")
    return {"pooler": settings, "mask": {"pooled_size": keys["MODEL.ROI_MASK_HEAD.POOLER_RESOLUTION"]}}


def _two_thresholds(keys: SourceKeys, key: str) -> tuple[float, float]:
    """Return the IoU below which a box is background, and that from which on it is an object; one may be both."""
    thresholds = keys[key]
    if not 1 <= len(thresholds) <= 2:
        raise InputError(f"{keys.path}: {key} {thresholds}: give one threshold or two")
    return thresholds[0], thresholds[-1]


def _box(keys: SourceKeys, translation: Translation) -> dict[str, Any]:
    if "box" not in translation.hyperparameters:
        return {}
    negative, positive = _two_thresholds(keys, "MODEL.ROI_HEADS.IOU_THRESHOLDS")
    if keys["MODEL.ROI_HEADS.IOU_LABELS"] != ([0, 1] if negative == positive else [0, -1, 1]):
        keys.name_left("MODEL.ROI_HEADS.IOU_LABELS")
    settings: dict[str, Any] = {
        "positive_iou": positive,
        "negative_iou": negative,
        "box_loss": _box_loss(keys, "MODEL.ROI_BOX_HEAD"),
    }
    kind = kind_of(translation)
    if keys["MODEL.ROI_HEADS.IN_FEATURES"] not in (None, _REGION_MAPS[kind]):
        keys.name_left("MODEL.ROI_HEADS.IN_FEATURES")
    is_agnostic = keys["MODEL.ROI_BOX_HEAD.CLS_AGNOSTIC_BBOX_REG"]
    is_passed_on = keys["MODEL.ROI_BOX_HEAD.TRAIN_ON_PRED_BOXES"]
    if is_passed_on and (kind == "C4" or translation.detector.startswith("Cascade")):
        keys.name_left("MODEL.ROI_BOX_HEAD.TRAIN_ON_PRED_BOXES")
    else:
        settings["passes_on"] = "predicted" if is_passed_on else "sampled"
    if translation.detector.startswith("Cascade"):
        first, *later = keys["MODEL.ROI_BOX_CASCADE_HEAD.IOUS"]
        first_weights, *later_weights = keys["MODEL.ROI_BOX_CASCADE_HEAD.BBOX_REG_WEIGHTS"]
        settings |= {
            "positive_iou": first,
            "negative_iou": first,
            "box_weights": first_weights,
            "stage_ious": later,
            "stage_box_weights": later_weights,
            "loss_weights": [1.0] * (1 + len(later)),
        }
    else:
        settings["class_agnostic"] = is_agnostic
    return {"box": settings | _class_loss(keys)}


def _class_loss(keys: SourceKeys) -> dict[str, Any]:
    """Return the loss of the classes if they are sigmoids; of all of them, it is a federated loss that drops none."""
    head = "MODEL.ROI_BOX_HEAD."
    number, power = keys[f"{head}FED_LOSS_NUM_CLASSES"], keys[f"{head}FED_LOSS_FREQ_WEIGHT_POWER"]
    is_federated = keys[f"{head}USE_FED_LOSS"]
    if not keys[f"{head}USE_SIGMOID_CE"]:
        if is_federated:  # detectron2 refuses it
            keys.name_left(f"{head}USE_FED_LOSS")
        return {}
    if not is_federated:
        number, power = keys["MODEL.ROI_HEADS.NUM_CLASSES"], 0.0
    loss = part("lightning_rcnn.roi_heads.class_losses.FederatedLoss", num_classes=number, frequency_power=power)
    return {"class_loss": loss}


def _box_loss(keys: SourceKeys, section: str) -> dict[str, Any]:
    kind, weight = keys[f"{section}.BBOX_REG_LOSS_TYPE"], keys[f"{section}.BBOX_REG_LOSS_WEIGHT"]
    if kind in OVERLAP_TYPES:
        return part(OVERLAP_LOSSES[OVERLAP_TYPES[kind]], weight=weight)
    if kind != "smooth_l1":
        keys.name_left(f"{section}.BBOX_REG_LOSS_TYPE")
    return part(SMOOTH_L1, weight=weight, beta=keys[f"{section}.SMOOTH_L1_BETA"])


def _keypoint(keys: SourceKeys, translation: Translation) -> dict[str, Any]:
    if translation.detector != "KeypointRCNN":
        return {}
    head = "MODEL.ROI_KEYPOINT_HEAD."
    for name in ("TYPE", "SAMPLING_RATIO"):  # keypoints and boxes are pooled alike
        if keys[f"{head}POOLER_{name}"] != keys[f"MODEL.ROI_BOX_HEAD.POOLER_{name}"]:
            keys.name_left(f"{head}POOLER_{name}")
    if keys[f"{head}LOSS_WEIGHT"] != 1:
        keys.name_left(f"{head}LOSS_WEIGHT")
    number = "visible" if keys[f"{head}NORMALIZE_LOSS_BY_VISIBLE_KEYPOINTS"] else "static"
    return {"keypoint": {"pooled_size": keys[f"{head}POOLER_RESOLUTION"], "loss_number": number}}


def _point_rend(keys: SourceKeys, translation: Translation) -> dict[str, Any]:
    if translation.detector != "PointRend":
        return {}
    settings: dict[str, Any] = {}
    for theirs, ours in POINTS.items():
        if ours == "mask.oversample" and keys[theirs] != int(keys[theirs]):
            keys.name_left(theirs)
        else:
            settings = merge(settings, nested(ours, keys[theirs]))
    return settings
