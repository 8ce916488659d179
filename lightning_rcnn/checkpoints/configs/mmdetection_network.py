"""Networks of mmdetection's configurations: whether they are those of the weights, and what weights do not tell."""

from typing import Any

from lightning_rcnn.checkpoints import swin_names
from lightning_rcnn.checkpoints.configs.source_keys import SourceKeys
from lightning_rcnn.checkpoints.translation import RESNET_C4, RESNET_DC5, RESNET_FPN, SWIN_FPN, Translation
from lightning_rcnn.errors import InputError
from lightning_rcnn.plain_data import CLASS_PATH, INIT_ARGS
from lightning_rcnn.plural import plural

_DETECTORS = ("FasterRCNN", "MaskRCNN", "CascadeRCNN")
_BACKBONES = ("ResNet", "ResNeXt", "SwinTransformer")
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
    "act_cfg.type": "GELU",
}
"""Settings of a Swin Transformer that weights do not tell, and of which ours has one value."""
_NECK: dict[str, Any] = {
    "num_outs": 5,
    "start_level": 0,
    "upsample_cfg.mode": "nearest",
    "upsample_cfg.scale_factor": None,
}
"""What the weights of a pyramid do not tell, and ours has one value of."""


def check_network(keys: SourceKeys, translation: Translation) -> None:
    """Check that a configuration is of the network that weights are of.

    Raises:
        InputError: it is of another one, or of one that we do not have.
    """
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
    arguments = translation.hyperparameters["backbone"][INIT_ARGS]
    name = arguments["name"]
    is_swin = translation.hyperparameters["backbone"][CLASS_PATH] == SWIN_FPN
    if (backbone == "SwinTransformer") != is_swin:
        raise _other_network(f"model.backbone.type {backbone}", f"a {name}", keys, translation)
    if depth is not None and not name.partition("_")[0].endswith(f"t{depth}"):
        raise _other_network(f"model.backbone.depth {depth}", f"a {name}", keys, translation)
    if is_swin:
        for key, value in (swin_names.sizes_of(name) | {"window_size": arguments["window"]}).items():
            if keys[f"model.backbone.{key}"] not in (None, value):
                given = f"model.backbone.{key} {keys[f'model.backbone.{key}']}"
                raise _other_network(given, f"a {name} with windows of {arguments['window']}", keys, translation)
    head = "model.roi_head.bbox_head."
    number = keys[f"{head}num_classes"] or keys[f"{head}0.num_classes"]
    known = len(translation.hyperparameters["class_names"])
    if number is not None and number != known:
        raise InputError(
            f"{keys.path}: num_classes {number}, but {translation.source} has {plural(known, 'class')}; give the "
            "configuration of these weights"
        )


def _other_network(given: str, found: str, keys: SourceKeys, translation: Translation) -> InputError:
    return InputError(
        f"{keys.path}: {given}, but {translation.source} is {found}; give the configuration of these weights"
    )


def read_backbone(keys: SourceKeys, translation: Translation) -> dict[str, Any]:
    """Return settings of the backbone with its pyramid that weights do not tell."""
    kind = translation.hyperparameters["backbone"][CLASS_PATH]
    if kind in (RESNET_FPN, SWIN_FPN):
        _name_others(keys, "model.neck.", _NECK)
    if kind == SWIN_FPN:
        return {"backbone": {INIT_ARGS: _swin(keys)}}
    has_bottlenecks = translation.hyperparameters["backbone"][INIT_ARGS]["name"] not in ("resnet18", "resnet34")
    settings: dict[str, Any] = {"frozen_stages": keys["model.backbone.frozen_stages"] + 1}
    if keys["model.backbone.style"] == "caffe" and has_bottlenecks:
        settings["stride_in_1x1"] = True
    if keys["model.backbone.with_cp"]:
        settings["checkpointing"] = True
    for key, usual in _STRIDES.get(kind, {}).items():
        value = keys[f"model.backbone.{key}"]
        if value is not None and list(value)[: len(usual)] != usual:
            keys.name_left(f"model.backbone.{key}")
    return {"backbone": {INIT_ARGS: settings}}


def _swin(keys: SourceKeys) -> dict[str, Any]:
    drop_path = keys["model.backbone.drop_path_rate"]
    _name_others(keys, "model.backbone.", _SWIN)
    return {
        "drop_path": 0.1 if drop_path is None else drop_path,
        "frozen_stages": keys["model.backbone.frozen_stages"] + 1,
        "checkpointing": bool(keys["model.backbone.with_cp"]),
    }


def _name_others(keys: SourceKeys, start: str, usual: dict[str, Any]) -> None:
    for key, value in usual.items():
        if keys[f"{start}{key}"] not in (None, value):
            keys.name_left(f"{start}{key}")
