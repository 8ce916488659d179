"""Settings of detectron2's configurations as ours.

The network follows from the weights (`checkpoints/detectron2.py`); a configuration adds what they do not tell: sizes,
thresholds, samples, losses, the solver, the input.
"""

from pathlib import Path
from typing import Any

from lightning_rcnn.checkpoints.configs.detectron2_branches import has_class, kind_of, read_branches
from lightning_rcnn.checkpoints.configs.detectron2_defaults import DEFAULTS, FROM_WEIGHTS, OF_THE_RUN
from lightning_rcnn.checkpoints.configs.detectron2_files import flat_config
from lightning_rcnn.checkpoints.configs.detectron2_lazy import (
    CHECKPOINTING,
    DEFAULTS_OF_LAZY,
    DROP_PATH,
    SQUARE_PAD,
    from_lazy,
)
from lightning_rcnn.checkpoints.configs.detectron2_training import read_run, read_solver
from lightning_rcnn.checkpoints.configs.source_keys import LastRead, SourceKeys, one_line_for_other_kinds
from lightning_rcnn.checkpoints.configs.training import nested
from lightning_rcnn.checkpoints.translation import Translation
from lightning_rcnn.errors import InputError
from lightning_rcnn.plain_data import INIT_ARGS, merge, override
from lightning_rcnn.plural import plural

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
_NOT_IN_WEIGHTS = ("MODEL.RESNETS.STRIDE_IN_1X1", "MODEL.RESNETS.DEPTH", "MODEL.RESNETS.RES5_DILATION")
"""Keys of the network that are read all the same."""
_WITHOUT_EFFECT: dict[str, tuple[str, ...]] = {"PointRend": ("MODEL.ROI_MASK_HEAD.POOLER_", "INPUT.MASK_FORMAT")}
"""Detector -> beginnings of keys that it has no use for: PointRend samples the finest map, and bitmaps, at points."""


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
        leaves = LastRead(given)
        with one_line_for_other_kinds(path, leaves):
            given, defaults = from_lazy(leaves), DEFAULTS | DEFAULTS_OF_LAZY
    without_effect = (*FROM_WEIGHTS, *OF_THE_RUN, *_without_effect(translation))
    own = {key: value for key, value in given.items() if not key.startswith(without_effect)}
    own |= {key: given[key] for key in _NOT_IN_WEIGHTS if key in given}
    keys = SourceKeys(path, own, defaults)
    model: dict[str, Any] = {}
    with one_line_for_other_kinds(path, keys):
        _check(translation, keys)
        for section in (_same, _input, _backbone, read_branches):
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
            f"{path}: MODEL.ROI_HEADS.NUM_CLASSES {number}, but {source} has {plural(known, 'class')}; give the "
            "configuration of these weights"
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
        elif theirs == "MODEL.BACKBONE.FREEZE_AT" and has_class(translation, "ViTDet"):
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
    if has_class(translation, "ViTDet"):
        if keys["MODEL.BACKBONE.FREEZE_AT"]:
            keys.name_left("MODEL.BACKBONE.FREEZE_AT")
        backbone = {"drop_path": keys[DROP_PATH] or 0.0, "checkpointing": bool(keys[CHECKPOINTING])}
        square = {"preprocessing": {"size_divisor": keys[SQUARE_PAD]}} if keys[SQUARE_PAD] else {}
        return {"backbone": {INIT_ARGS: backbone}, **square}
    if keys["MODEL.RESNETS.RES5_DILATION"] not in (None, 2 if kind_of(translation) == "DC5" else 1):
        keys.name_left("MODEL.RESNETS.RES5_DILATION")
    stride_in_1x1 = keys["MODEL.RESNETS.STRIDE_IN_1X1"]
    if "stride_in_1x1" not in translation.hyperparameters["backbone"][INIT_ARGS] or _is_basic(translation):
        return {}
    return {"backbone": {INIT_ARGS: {"stride_in_1x1": stride_in_1x1}}}


def _is_basic(translation: Translation) -> bool:
    return translation.hyperparameters["backbone"][INIT_ARGS]["name"] in ("resnet18", "resnet34")
