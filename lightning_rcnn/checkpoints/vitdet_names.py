"""Plain vision transformers of detectron2's project ViTDet; their names are ours."""

import re
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from lightning_rcnn.checkpoints.reading import WeightFile
from lightning_rcnn.checkpoints.translation import VITDET, part
from lightning_rcnn.errors import InputError
from lightning_rcnn.plain_data import INIT_ARGS, merge

PREFIXES = ("backbone.net.", "backbone.simfp_")
_EMBEDDING = "backbone.net.patch_embed.proj.weight"
_POSITIONS = re.compile(r"backbone\.net\.blocks\.(\d+)\.attn\.rel_pos_h")
_NETWORKS = {
    (192, 12): ("tiny", 0.1),
    (384, 12): ("small", 0.1),
    (768, 12): ("base", 0.1),
    (1024, 24): ("large", 0.4),
    (1280, 32): ("huge", 0.5),
}
"""Channels and blocks -> name, and the rate of stochastic depth in the paper's recipes, which weights do not tell."""
_PATCH = 16
_NORM_EPSILON = 1e-6
"""Of all layer norms of detectron2; that of ours in the heads is 1e-5 if not set."""
PIXELS: dict[str, Any] = {
    "pixel_range": 255.0,
    "channel_order": "rgb",
    "pixel_mean": [123.675, 116.28, 103.53],
    "pixel_std": [58.395, 57.12, 57.375],
}


def is_vitdet(weights: Mapping[str, Tensor]) -> bool:
    """Tell whether weights are of a detector on a plain vision transformer."""
    return _EMBEDDING in weights


def settings_of(file: WeightFile) -> dict[str, Any]:
    """Return the settings of the backbone and of the preprocessing: images are padded to one square.

    Args:
        file: weights of a detector.

    Raises:
        InputError: the transformer is none of ours, or has no relative positions.
    """
    weights = file.weights
    positions = {int(match[1]): len(weights[name]) for name in weights if (match := _POSITIONS.fullmatch(name))}
    channels = len(weights[_EMBEDDING])
    if (channels, len(positions)) not in _NETWORKS:
        raise InputError(
            f"{file.path}: a vision transformer of {channels} channels with relative positions in {len(positions)} "
            f"blocks, which is none of {', '.join(name for name, _ in _NETWORKS.values())}"
        )
    name, drop_path = _NETWORKS[channels, len(positions)]
    sides = [(length + 1) // 2 for length in positions.values()]
    image_size = max(sides) * _PATCH
    absolute = weights.get("backbone.net.pos_embed")
    side = 14 if absolute is None else round((absolute.shape[1] - 1) ** 0.5)
    backbone = part(
        VITDET,
        name=name,
        window=min(sides),
        image_size=image_size,
        pretrained_size=side * _PATCH,
        drop_path=drop_path,
        channels=len(weights["backbone.simfp_4.0.weight"]),
    )
    sizes = {"min_size": image_size, "max_size": image_size, "size_divisor": image_size}
    return {"backbone": backbone, "preprocessing": PIXELS | sizes}


def with_layer_norms(settings: dict[str, Any]) -> dict[str, Any]:
    """Return the settings of a detector with its heads' norms, which weights do not tell from group norms."""
    norm = {"norm": "layer_norm", "norm_epsilon": _NORM_EPSILON}
    head, mask = settings.get("box", {}).get("head", {}), settings.get("mask", {})
    if head.get(INIT_ARGS, {}).get("norm"):
        settings = merge(settings, {"box": {"head": {INIT_ARGS: norm}}})
    return merge(settings, {"mask": norm}) if mask.get("norm") else settings
