"""Where a detector of ours differs from detectron2's conventions, which no configuration of it changes."""

from collections.abc import Iterator, Mapping
from typing import Any

from lightning_rcnn.checkpoints.translation import OVERLAP_LOSSES, RULES_OF_BOXES, RULES_OF_RPN, SMOOTH_L1
from lightning_rcnn.plain_data import CLASS_PATH, INIT_ARGS

_ONLY_IN_TRAINING = ("low_quality_iou", "low_quality_target", "padding_divisor", "crowd_ioa")
_FIXED: dict[str, Any] = {
    "preprocessing.resize": "pillow",
    "backbone.norm_epsilon": 1e-5,
    "rpn.anchors.rounding": "exact",
    "rpn.anchors.stride": "fixed",
    "rpn.anchors.levels": "one_size",
    "rpn.ranking": "logit",
    "rpn.min_scale": 0.0,
    "rpn.score_threshold": 0.0,
    "pooler.canonical": [4, 224.0],
    "pooler.level_rule": "detectron2",
    "box.averages": "scores",
    "box.nms": "hard",
    "box.nms_across_classes": False,
    "box.min_size": 0.0,
    "box.min_scale": 0.0,
    "mask.paste": "exact",
    "mask.norm_epsilon": 1e-5,
    "keypoint.score": "probability",
}
"""Conventions of detectron2 that no key of its configuration changes."""
_FIXED_IN_TRAINING: dict[str, Any] = {
    **{f"rpn.{key}": value for key, value in RULES_OF_RPN.items() if key in _ONLY_IN_TRAINING},
    "rpn.loss_denominator": "fixed",
    **{f"box.{key}": value for key, value in RULES_OF_BOXES.items() if key in _ONLY_IN_TRAINING},
    "box.lowest_negative_iou": 0.0,
    "box.class_weights": None,
    "box.samples": "first",
    "box.gradients": "shared",
}
"""Those of them that only a training goes by."""


def other_conventions(hyperparameters: Mapping[str, Any]) -> list[str]:
    """Describe where our detector differs from detectron2's with the same weights and its configuration."""
    settings = bare(hyperparameters)
    return list(_differences(settings))


def other_rules_of_training(hyperparameters: Mapping[str, Any]) -> list[str]:
    """Describe where a training of our detector differs from detectron2's with the configuration."""
    settings = bare(hyperparameters)
    rules = list(_others(settings, _FIXED_IN_TRAINING))
    if (rule := settings["rpn"]["cross_boundary_anchors"]) not in ("keep", "discard"):
        rules.append(f"rpn.cross_boundary_anchors {rule} (discard there)")
    if at(settings, "mask.target") == "soft":
        rules.append("mask.target soft (thresholded there)")
    if any(weight != 1 for weight in at(settings, "box.loss_weights") or ()):
        rules.append(f"box.loss_weights {settings['box']['loss_weights']} (1 there)")
    return rules


def _others(settings: Mapping[str, Any], fixed: Mapping[str, Any]) -> Iterator[str]:
    """Yield settings with another value than the one that detectron2 has."""
    for key, theirs in fixed.items():
        ours = at(settings, key)
        if ours is not None and ours != theirs:
            yield f"{key} {ours} ({theirs} there)"


def _differences(settings: Mapping[str, Any]) -> Iterator[str]:
    for branch in ("rpn", "box"):
        name = settings.get(branch, {}).get("box_loss", {}).get(CLASS_PATH)
        if name not in (None, SMOOTH_L1, *OVERLAP_LOSSES.values()):
            yield f"{branch}.box_loss {name} (smooth_l1 there)"
    yield from _others(settings, _FIXED)
    anchors = settings["rpn"]["anchors"]
    if settings["backbone"].get("channels") is None and len(anchors["sizes"]) > 1 and anchors["order"] != "size_major":
        yield f"rpn.anchors.order {anchors['order']} (size_major there)"


def bare(value: Any) -> Any:
    """Return settings without class paths, which stand for themselves below `class_path`."""
    if isinstance(value, Mapping) and INIT_ARGS in value:
        return {CLASS_PATH: value[CLASS_PATH], **bare(value[INIT_ARGS])}
    if isinstance(value, Mapping):
        return {key: bare(item) for key, item in value.items()}
    return value


def at(settings: Any, key: str) -> Any:
    """Return a bare setting by its dotted key; None if there is none."""
    for name in key.replace(f"{INIT_ARGS}.", "").split("."):
        settings = settings.get(name) if isinstance(settings, Mapping) else None
    return settings
