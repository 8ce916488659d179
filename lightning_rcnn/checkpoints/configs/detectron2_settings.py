"""Settings of detectron2's configurations as ours.

The network follows from the weights (`checkpoints/detectron2.py`); a configuration adds what they do not tell: sizes,
thresholds, samples, losses, the solver, the input.
"""

from pathlib import Path
from typing import Any

from lightning_rcnn.checkpoints.configs.detectron2_defaults import DEFAULTS, FROM_WEIGHTS, OF_THE_RUN
from lightning_rcnn.checkpoints.configs.detectron2_files import flat_config
from lightning_rcnn.checkpoints.configs.detectron2_lazy import (
    CHECKPOINTING,
    DEFAULTS_OF_LAZY,
    DROP_PATH,
    LOW_QUALITY,
    SQUARE_PAD,
    from_lazy,
)
from lightning_rcnn.checkpoints.configs.detectron2_training import read_run, read_solver
from lightning_rcnn.checkpoints.configs.source_keys import SourceKeys
from lightning_rcnn.checkpoints.configs.training import nested
from lightning_rcnn.checkpoints.translation import OVERLAP_LOSSES, SMOOTH_L1, Translation, part
from lightning_rcnn.errors import InputError
from lightning_rcnn.plain_data import INIT_ARGS, merge, override

_META_ARCHITECTURES = ("GeneralizedRCNN", "ProposalNetwork")
SAME: dict[str, str] = {
    "INPUT.MIN_SIZE_TEST": "preprocessing.min_size",
    "INPUT.MAX_SIZE_TEST": "preprocessing.max_size",
    "MODEL.PIXEL_MEAN": "preprocessing.pixel_mean",
    "MODEL.PIXEL_STD": "preprocessing.pixel_std",
    "MODEL.BACKBONE.FREEZE_AT": "backbone.init_args.frozen_stages",
    "MODEL.PROPOSAL_GENERATOR.MIN_SIZE": "rpn.min_size",
    "MODEL.RPN.BATCH_SIZE_PER_IMAGE": "rpn.samples_per_image",
    "MODEL.RPN.POSITIVE_FRACTION": "rpn.positive_fraction",
    "MODEL.RPN.NMS_THRESH": "rpn.nms_iou",
    "MODEL.ROI_HEADS.BATCH_SIZE_PER_IMAGE": "box.samples_per_image",
    "MODEL.ROI_HEADS.POSITIVE_FRACTION": "box.positive_fraction",
    "MODEL.ROI_HEADS.SCORE_THRESH_TEST": "box.score_threshold",
    "MODEL.ROI_HEADS.NMS_THRESH_TEST": "box.nms_iou",
    "MODEL.ROI_BOX_HEAD.BBOX_REG_WEIGHTS": "box.box_weights",
    "MODEL.ROI_BOX_HEAD.POOLER_RESOLUTION": "box.pooled_size",
    "TEST.DETECTIONS_PER_IMAGE": "box.detections_per_image",
    "SOLVER.WEIGHT_DECAY_NORM": "parameter_groups.norm_weight_decay",
    "SOLVER.IMS_PER_BATCH": "parameter_groups.reference_batch_size",
}
"""Settings that only have another name here."""
OVERLAP_TYPES = {"giou": "GIoULoss", "diou": "DIoULoss", "ciou": "CIoULoss"}
"""Their names of the losses of boxes by overlap, and ours."""
POINTS: dict[str, str] = {
    "MODEL.POINT_HEAD.TRAIN_NUM_POINTS": "mask.num_points",
    "MODEL.POINT_HEAD.OVERSAMPLE_RATIO": "mask.oversample",
    "MODEL.POINT_HEAD.IMPORTANCE_SAMPLE_RATIO": "mask.importance",
    "MODEL.POINT_HEAD.SUBDIVISION_STEPS": "mask.subdivisions",
    "MODEL.POINT_HEAD.SUBDIVISION_NUM_POINTS": "mask.subdivision_points",
}
"""Those of PointRend."""
_NOT_IN_WEIGHTS = ("MODEL.RESNETS.STRIDE_IN_1X1", "MODEL.RESNETS.DEPTH", "MODEL.RESNETS.RES5_DILATION")
"""Keys of the network that are read all the same."""
_WITHOUT_EFFECT: dict[str, tuple[str, ...]] = {"PointRend": ("MODEL.ROI_MASK_HEAD.POOLER_", "INPUT.MASK_FORMAT")}
"""Detector -> beginnings of keys that it has no use for: PointRend samples the finest map, and bitmaps, at points."""
POOLERS: dict[str, dict[str, Any]] = {
    "ROIAlignV2": {"operator": "align", "aligned": True},
    "ROIAlign": {"operator": "align", "aligned": False},
    "ROIPool": {"operator": "pool"},
}


def configure(translation: Translation, path: Path) -> None:
    """Complete a translated detector by the configuration that it was trained with.

    Args:
        translation: detector of detectron2; its settings, run settings and notes are changed.
        path: the configuration.

    Raises:
        InputError: the configuration cannot be read, or is of another network than the weights.
    """
    given = flat_config(path)
    defaults = DEFAULTS
    if "model._target_" in given:
        given, defaults = from_lazy(given), DEFAULTS | DEFAULTS_OF_LAZY
    without_effect = (*FROM_WEIGHTS, *OF_THE_RUN, *_without_effect(translation))
    own = {key: value for key, value in given.items() if not key.startswith(without_effect)}
    own |= {key: given[key] for key in _NOT_IN_WEIGHTS if key in given}
    keys = SourceKeys(path, own, defaults)
    model: dict[str, Any] = {}
    with keys.one_line_for_other_kinds():
        _check(translation, keys)
        for section in (_same, _input, _backbone, _rpn, _pooler, _box, _keypoint, _point_rend):
            model = merge(model, section(keys, translation))
        model = merge(model, read_solver(keys))
        translation.run = read_run(keys)
    translation.hyperparameters = override(translation.hyperparameters, model)
    translation.notes.append(f"Settings of {path}, as far as they have a counterpart here.")
    translation.notes += [f"{path}: no counterpart of {setting}." for setting in keys.left()]


def _without_effect(translation: Translation) -> tuple[str, ...]:
    """Return the beginnings of keys that this detector has no use for."""
    rpn = () if "rpn" in translation.hyperparameters else ("MODEL.RPN.", "MODEL.ANCHOR_GENERATOR.")
    heads = () if "box" in translation.hyperparameters else ("MODEL.ROI_", "MODEL.POINT_HEAD.")
    return (*_WITHOUT_EFFECT.get(translation.detector, ()), *rpn, *heads)


def _check(translation: Translation, keys: SourceKeys) -> None:
    path = keys.path
    architecture = keys["MODEL.META_ARCHITECTURE"]
    if architecture not in _META_ARCHITECTURES:
        raise InputError(
            f"{path}: MODEL.META_ARCHITECTURE {architecture}: we have no such detector; ours are those of "
            f"{' and '.join(_META_ARCHITECTURES)}"
        )
    settings, source = translation.hyperparameters, translation.source
    depth, name = keys["MODEL.RESNETS.DEPTH"], settings["backbone"][INIT_ARGS].get("name", "")
    if name.startswith("res") and not name.partition("_")[0].endswith(f"t{depth}"):
        raise InputError(f"{path}: MODEL.RESNETS.DEPTH {depth}, but {source} is a {name}; give the configuration of it")
    number, known = keys["MODEL.ROI_HEADS.NUM_CLASSES"], len(settings["class_names"])
    if "box" in settings and number != known:
        raise InputError(
            f"{path}: MODEL.ROI_HEADS.NUM_CLASSES {number}, but {source} has {known} classes; give the configuration "
            "of these weights"
        )
    has_keypoints = translation.detector == "KeypointRCNN"
    if keys["MODEL.KEYPOINT_ON"] != has_keypoints:
        raise InputError(
            f"{path}: MODEL.KEYPOINT_ON {keys['MODEL.KEYPOINT_ON']}, but {source} is a {translation.detector}; give "
            "the configuration of these weights"
        )
    has_masks = translation.detector in ("MaskRCNN", "CascadeMaskRCNN", "PointRend")
    if keys["MODEL.MASK_ON"] != has_masks:
        raise InputError(
            f"{path}: MODEL.MASK_ON {keys['MODEL.MASK_ON']}, but {source} is a {translation.detector}; give the "
            "configuration of these weights"
        )


def _same(keys: SourceKeys, translation: Translation) -> dict[str, Any]:
    settings = translation.hyperparameters
    found: dict[str, Any] = {}
    for theirs, ours in SAME.items():
        value = keys[theirs]
        if theirs == "INPUT.MIN_SIZE_TEST" and value == 0:  # images keep their size
            keys.name_left(theirs)
        elif theirs == "MODEL.BACKBONE.FREEZE_AT" and _has_class(translation, "ViTDet"):
            continue
        elif ours.partition(".")[0] in (*settings, "parameter_groups") and value is not None:
            found = merge(found, nested(ours, value))
    return found


def _input(keys: SourceKeys, translation: Translation) -> dict[str, Any]:
    settings: dict[str, Any] = {}
    if keys["INPUT.FORMAT"] in ("BGR", "RGB"):
        settings = {"preprocessing": {"channel_order": keys["INPUT.FORMAT"].lower()}}
    else:
        keys.name_left("INPUT.FORMAT")
    if "mask" in translation.hyperparameters and translation.detector != "PointRend":
        is_polygon = keys["INPUT.MASK_FORMAT"] == "polygon"
        settings["mask"] = {"target": "polygon" if is_polygon else "thresholded"}
    return settings


def _backbone(keys: SourceKeys, translation: Translation) -> dict[str, Any]:
    if _has_class(translation, "ViTDet"):
        if keys["MODEL.BACKBONE.FREEZE_AT"]:
            keys.name_left("MODEL.BACKBONE.FREEZE_AT")
        backbone = {"drop_path": keys[DROP_PATH] or 0.0, "checkpointing": bool(keys[CHECKPOINTING])}
        square = {"preprocessing": {"size_divisor": keys[SQUARE_PAD]}} if keys[SQUARE_PAD] else {}
        return {"backbone": {INIT_ARGS: backbone}, **square}
    if keys["MODEL.RESNETS.RES5_DILATION"] not in (None, 2 if _kind(translation) == "DC5" else 1):
        keys.name_left("MODEL.RESNETS.RES5_DILATION")
    stride_in_1x1 = keys["MODEL.RESNETS.STRIDE_IN_1X1"]
    if "stride_in_1x1" not in translation.hyperparameters["backbone"][INIT_ARGS] or _is_basic(translation):
        return {}
    return {"backbone": {INIT_ARGS: {"stride_in_1x1": stride_in_1x1}}}


def _is_basic(translation: Translation) -> bool:
    return translation.hyperparameters["backbone"][INIT_ARGS]["name"] in ("resnet18", "resnet34")


def _rpn(keys: SourceKeys, translation: Translation) -> dict[str, Any]:
    if "rpn" not in translation.hyperparameters:
        return {}
    negative, positive = _two_thresholds(keys, "MODEL.RPN.IOU_THRESHOLDS")
    anchors: dict[str, Any] = {}
    sizes = keys["MODEL.ANCHOR_GENERATOR.SIZES"]
    if not _has_class(translation, "FPN") or all(len(level) == 1 for level in sizes):
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
    kind = _kind(translation)
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
    if _has_class(translation, "C4"):  # masks come from the regions of boxes
        return {"pooler": settings}
    for name in ("TYPE", "SAMPLING_RATIO"):  # masks and boxes are pooled alike
        if keys[f"MODEL.ROI_MASK_HEAD.POOLER_{name}"] != keys[f"MODEL.ROI_BOX_HEAD.POOLER_{name}"]:
            keys.name_left(f"MODEL.ROI_MASK_HEAD.POOLER_{name}")
    return {"pooler": settings, "mask": {"pooled_size": keys["MODEL.ROI_MASK_HEAD.POOLER_RESOLUTION"]}}


def _has_class(translation: Translation, ending: str) -> bool:
    return translation.hyperparameters["backbone"]["class_path"].endswith(ending)


_REGION_MAPS = {"C4": ["res4"], "DC5": ["res5"], "FPN": ["p2", "p3", "p4", "p5"]}
"""Maps that regions are pooled from, by the end of our backbone's name."""


def _kind(translation: Translation) -> str:
    return next(kind for kind in _REGION_MAPS if _has_class(translation, kind) or kind == "FPN")


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
    kind = _kind(translation)
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
