"""Our settings as a configuration of detectron2."""

from collections.abc import Mapping
from typing import Any

from lightning_rcnn.checkpoints.configs.detectron2_branches import OVERLAP_TYPES, POINTS, POOLERS
from lightning_rcnn.checkpoints.configs.detectron2_differences import at, bare
from lightning_rcnn.checkpoints.configs.detectron2_settings import SAME
from lightning_rcnn.checkpoints.configs.training import nested
from lightning_rcnn.plain_data import CLASS_PATH, merge
from lightning_rcnn.skeleton import COCO_PERSON

_NORMS = {"frozen_batch_norm": "FrozenBN", "batch_norm": "SyncBN", "group_norm": "GN", "layer_norm": "LN", None: ""}
_DEPTHS = {"resnet18": 18, "resnet34": 34, "resnet50": 50, "resnet101": 101, "resnet152": 152}
_WIDTHS = {
    "resnext50_32x4d": (50, 32, 4),
    "resnext101_32x4d": (101, 32, 4),
    "resnext101_32x8d": (101, 32, 8),
    "resnext101_64x4d": (101, 64, 4),
    "resnext152_32x8d": (152, 32, 8),
    "wide_resnet50_2": (50, 1, 128),
    "wide_resnet101_2": (101, 1, 128),
}
"""Depth, groups and channels of a group of what is no plain ResNet."""
_PHASES = ("TRAIN", "TEST")


def config_of(hyperparameters: Mapping[str, Any]) -> dict[str, Any]:
    """Return a configuration of detectron2 for a detector of ours: the network, its thresholds, input and solver.

    Args:
        hyperparameters: all settings of the detector, as its checkpoint holds them.
    """
    settings = bare(hyperparameters)
    # Theirs subtract a mean from pixels of 0 to 255; the same with ours of another range is a factor.
    factor = 255 / settings["preprocessing"]["pixel_range"]
    for key in ("pixel_mean", "pixel_std"):
        settings["preprocessing"][key] = [round(value * factor, 6) for value in settings["preprocessing"][key]]
    names = SAME | POINTS
    same = [nested(theirs, value) for theirs, ours in names.items() if (value := at(settings, ours)) is not None]
    config: dict[str, Any] = {"VERSION": 2}
    for section in (*same, _network(hyperparameters, settings), _thresholds(settings), _solver(settings)):
        config = merge(config, section)
    return config


def _network(hyperparameters: Mapping[str, Any], settings: Mapping[str, Any]) -> dict[str, Any]:
    backbone = settings["backbone"]
    kind = backbone[CLASS_PATH].rpartition("ResNet")[2]
    stages = ["res2", "res3", "res4", "res5"]
    maps = {"FPN": ["p2", "p3", "p4", "p5"], "C4": ["res4"], "DC5": ["res5"]}[kind]
    depth, *width = _WIDTHS.get(backbone["name"]) or (_DEPTHS[backbone["name"]],)
    is_basic = backbone["name"] in ("resnet18", "resnet34")
    model: dict[str, Any] = {
        "META_ARCHITECTURE": "GeneralizedRCNN" if "box" in settings else "ProposalNetwork",
        "MASK_ON": "mask" in settings,
        "BACKBONE": {"NAME": f"build_resnet{'_fpn' if kind == 'FPN' else ''}_backbone"},
        "RESNETS": {
            "DEPTH": depth,
            "OUT_FEATURES": stages if kind == "FPN" else maps,
            "NORM": _NORMS[backbone["norm"]],
            "STRIDE_IN_1X1": backbone["stride_in_1x1"],
            "RES5_DILATION": 2 if kind == "DC5" else 1,
            **dict(zip(("NUM_GROUPS", "WIDTH_PER_GROUP"), width, strict=False)),
            **({"RES2_OUT_CHANNELS": 64} if is_basic else {}),
            **_deformable(backbone.get("deformable")),
        },
        "RPN": {
            "IN_FEATURES": [*maps, "p6"] if kind == "FPN" else maps,
            "CONV_DIMS": [-1] * settings["rpn"]["num_layers"],
        },
    }
    if kind == "FPN":
        norm = _NORMS[backbone["fpn_norm"]]
        model["FPN"] = {"IN_FEATURES": stages, "OUT_CHANNELS": backbone["channels"], "NORM": norm}
    if "box" in settings:
        model |= _heads(settings, kind, maps, len(hyperparameters["class_names"]))
    return {"MODEL": model}


def _heads(settings: Mapping[str, Any], kind: str, maps: list[str], num_classes: int) -> dict[str, Any]:
    box, mask = settings["box"], settings.get("mask")
    is_cascade = "stage_ious" in box
    name = "CascadeROIHeads" if is_cascade else "Res5ROIHeads" if kind == "C4" else "StandardROIHeads"
    model: dict[str, Any] = {
        "ROI_HEADS": {"NAME": name, "IN_FEATURES": maps, "NUM_CLASSES": num_classes},
        "ROI_BOX_HEAD": {
            **(_box_head(box["head"]) if kind != "C4" else {}),
            "POOLER_RESOLUTION": box["pooled_size"] or (14 if kind == "C4" else 7),
        },
    }
    if is_cascade:
        model["ROI_BOX_CASCADE_HEAD"] = {
            "IOUS": [box["positive_iou"], *box["stage_ious"]],
            "BBOX_REG_WEIGHTS": [box["box_weights"], *box["stage_box_weights"]],
        }
    if mask is not None and "subdivisions" in mask:
        model["ROI_HEADS"]["NAME"] = "PointRendROIHeads"
        model |= _point_rend(mask, num_classes)
    elif mask is not None:
        layers = mask["num_layers"] if mask["num_layers"] is not None else 0 if kind == "C4" else 4
        model["ROI_MASK_HEAD"] = {
            "NUM_CONV": layers,
            "CONV_DIM": mask["width"],
            "NORM": _NORMS[mask["norm"]],
            "POOLER_RESOLUTION": mask["pooled_size"] or 14,
        }
    if keypoint := settings.get("keypoint"):
        names = settings["skeleton"]["names"] if settings["skeleton"] else COCO_PERSON.names
        model["KEYPOINT_ON"] = True
        model["ROI_KEYPOINT_HEAD"] = {
            "CONV_DIMS": [keypoint["width"]] * keypoint["num_layers"],
            "NUM_KEYPOINTS": len(names),
            "POOLER_RESOLUTION": keypoint["pooled_size"],
            "NORMALIZE_LOSS_BY_VISIBLE_KEYPOINTS": keypoint["loss_number"] == "visible",
        }
    return model


def _point_rend(mask: Mapping[str, Any], num_classes: int) -> dict[str, Any]:
    """Return the heads of PointRend, by the keys of its project's `add_pointrend_config`."""
    return {
        "ROI_MASK_HEAD": {
            "NAME": "PointRendMaskHead",
            "POINT_HEAD_ON": True,
            "IN_FEATURES": ["p2"],
            "POOLER_TYPE": "",
            "POOLER_RESOLUTION": mask["pooled_size"],
            "CONV_DIM": mask["coarse_width"],
            "FC_DIM": mask["coarse_hidden"],
            "NUM_FC": mask["coarse_layers"],
            "OUTPUT_SIDE_RESOLUTION": mask["coarse_side"],
        },
        "POINT_HEAD": {
            "NUM_CLASSES": num_classes,
            "FC_DIM": mask["width"],
            "NUM_FC": mask["num_layers"],
            "IN_FEATURES": ["p2"],
        },
    }


def _deformable(settings: Mapping[str, Any] | None) -> dict[str, Any]:
    if settings is None:
        return {}
    return {
        "DEFORM_ON_PER_STAGE": [stage in settings["stages"] for stage in (1, 2, 3, 4)],
        "DEFORM_MODULATED": settings["modulated"],
        "DEFORM_NUM_GROUPS": settings["groups"],
    }


def _box_head(head: Mapping[str, Any]) -> dict[str, Any]:
    settings: dict[str, Any] = {"NAME": "FastRCNNConvFCHead", "FC_DIM": head["width"], "NUM_FC": 2}
    if "num_layers" in head:
        settings |= {
            "NUM_FC": 1,
            "NUM_CONV": head["num_layers"],
            "CONV_DIM": head["channels"],
            "NORM": _NORMS[head["norm"]],
        }
    return settings


def _thresholds(settings: Mapping[str, Any]) -> dict[str, Any]:
    rpn, sizes = settings["rpn"], settings["rpn"]["anchors"]["sizes"]
    is_pyramid = "channels" in settings["backbone"]
    model: dict[str, Any] = {
        "ANCHOR_GENERATOR": {
            "SIZES": [[size] for size in sizes] if is_pyramid else [list(sizes)],
            "ASPECT_RATIOS": [list(rpn["anchors"]["ratios"])],
        },
        "RPN": {
            "IOU_THRESHOLDS": [rpn["negative_iou"], rpn["positive_iou"]],
            **_box_loss(rpn["box_loss"]),
            "BOUNDARY_THRESH": -1 if rpn["cross_boundary_anchors"] == "keep" else 0,
            **{f"PRE_NMS_TOPK_{phase}": n for phase, n in zip(_PHASES, rpn["pre_nms_top_n"], strict=True)},
            **{f"POST_NMS_TOPK_{phase}": n for phase, n in zip(_PHASES, rpn["post_nms_top_n"], strict=True)},
        },
    }
    order = settings["preprocessing"]["channel_order"].upper()
    config: dict[str, Any] = {"MODEL": model, "INPUT": {"FORMAT": order}}
    return merge(config, _pooling(settings)) if "box" in settings else config


def _box_loss(loss: Mapping[str, Any]) -> dict[str, Any]:
    name = loss[CLASS_PATH].rpartition(".")[2]
    kind = next((theirs for theirs, ours in OVERLAP_TYPES.items() if ours == name), "smooth_l1")
    beta = {"SMOOTH_L1_BETA": loss["beta"]} if "beta" in loss else {}
    return {"BBOX_REG_LOSS_TYPE": kind, "BBOX_REG_LOSS_WEIGHT": loss["weight"], **beta}


def _pooling(settings: Mapping[str, Any]) -> dict[str, Any]:
    box, pooler, mask = settings["box"], settings["pooler"], settings.get("mask")
    kind = next(name for name, other in POOLERS.items() if all(pooler[key] == value for key, value in other.items()))
    pooling = {"POOLER_TYPE": kind, "POOLER_SAMPLING_RATIO": pooler["sampling_ratio"]}
    model: dict[str, Any] = {
        "ROI_HEADS": _matching(box["negative_iou"], box["positive_iou"]),
        "ROI_BOX_HEAD": {
            **pooling,
            **_box_loss(box["box_loss"]),
            **_class_loss(box["class_loss"]),
            "CLS_AGNOSTIC_BBOX_REG": box["class_agnostic"],
            "TRAIN_ON_PRED_BOXES": box["passes_on"] == "predicted",
        },
    }
    if "keypoint" in settings:
        model["ROI_KEYPOINT_HEAD"] = pooling
    if mask is None:
        return {"MODEL": model}
    mask_format = "polygon" if mask.get("target") == "polygon" else "bitmask"
    if "subdivisions" in mask:
        return {"MODEL": model, "INPUT": {"MASK_FORMAT": mask_format}}
    return {"MODEL": model | {"ROI_MASK_HEAD": pooling}, "INPUT": {"MASK_FORMAT": mask_format}}


def _matching(negative_iou: float, positive_iou: float) -> dict[str, Any]:
    """Return the thresholds of regions; between two of them regions are ignored."""
    if negative_iou == positive_iou:
        return {"IOU_THRESHOLDS": [positive_iou]}
    return {"IOU_THRESHOLDS": [negative_iou, positive_iou], "IOU_LABELS": [0, -1, 1]}


def _class_loss(loss: Mapping[str, Any]) -> dict[str, Any]:
    if "frequency_power" not in loss:
        return {}
    numbers = {"FED_LOSS_NUM_CLASSES": loss["num_classes"], "FED_LOSS_FREQ_WEIGHT_POWER": loss["frequency_power"]}
    return {"USE_SIGMOID_CE": True, "USE_FED_LOSS": True, **numbers}


def _solver(settings: Mapping[str, Any]) -> dict[str, Any]:
    optimizer = settings["optimizer"]
    keys = {"lr": "BASE_LR", "momentum": "MOMENTUM", "nesterov": "NESTEROV", "weight_decay": "WEIGHT_DECAY"}
    return {"SOLVER": {theirs: optimizer[ours] for ours, theirs in keys.items() if ours in optimizer}}
