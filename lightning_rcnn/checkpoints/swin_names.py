"""Swin Transformers of mmdetection and of their authors' detectors: their names and ours, which are torchvision's.

The merging of patches differs beside the names: mmdetection lists the four patches of each channel, row by row; the
authors' code (Swin-Transformer-Object-Detection, on mmdetection 2.11) and torchvision list the channels of each patch,
column by column.
"""

import math
import re
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from lightning_rcnn.errors import InputError

_EMBEDDING = "backbone.patch_embed.projection.weight"
"""A weight that every Swin Transformer of mmdetection has, and no other network."""
_AUTHORS_BLOCK = "backbone.layers.0.blocks.0.attn.relative_position_bias_table"
"""A weight that every Swin Transformer of the authors' detectors has, and no other network."""
_NETWORKS = {(96, 6): "swin_t", (96, 18): "swin_s", (128, 18): "swin_b", (192, 18): "swin_l"}
"""Channels of the first stage and blocks of the third -> name of the network (section 3.3 of the paper)."""
_BLOCK = re.compile(r"(?:stages|layers)\.([0-3])\.blocks\.(\d+)\.(.+)")
_MERGING = re.compile(r"(?:stages|layers)\.([0-2])\.downsample\.(norm|reduction)\.(\w+)")
_PATCHES = re.compile(r"patch_embed\.(projection|proj|norm)\.(\w+)")
_OUTPUT_NORM = re.compile(r"norm([0-3])\.(\w+)")
_PARTS = (
    (re.compile(r"attn\.w_msa\."), "attn."),
    (re.compile(r"ffn\.layers\.0\.0\.|mlp\.fc1\."), "mlp.0."),
    (re.compile(r"ffn\.layers\.1\.|mlp\.fc2\."), "mlp.3."),
)
_OURS_OF_MERGING = re.compile(r"backbone\.body\.[246]\.(norm|reduction)\.(weight|bias)")


def is_swin(weights: Mapping[str, Any]) -> bool:
    """Tell whether weights, by names of mmdetection or of its authors, are of a Swin Transformer."""
    return _EMBEDDING in weights or has_authors_names(weights)


def has_authors_names(weights: Mapping[str, Any]) -> bool:
    """Tell whether weights have the names, and the order of merged patches, of the authors' detectors."""
    return _AUTHORS_BLOCK in weights


def our_name(name: str) -> str | None:
    """Return our name of a weight of `backbone.`; None if it has no place."""
    inner = name.removeprefix("backbone.")
    if match := _PATCHES.fullmatch(inner):
        return f"backbone.body.0.{2 if match[1] == 'norm' else 0}.{match[2]}"
    if match := _BLOCK.fullmatch(inner):
        rest = match[3]
        for theirs_part, ours_part in _PARTS:
            rest = theirs_part.sub(ours_part, rest)
        return f"backbone.body.{2 * int(match[1]) + 1}.{match[2]}.{rest}"
    if match := _MERGING.fullmatch(inner):
        return f"backbone.body.{2 * int(match[1]) + 2}.{match[2]}.{match[3]}"
    if match := _OUTPUT_NORM.fullmatch(inner):
        return f"backbone.norms.{match[1]}.{match[2]}"
    return None


def sizes_of(name: str) -> dict[str, Any]:
    """Return the sizes of one of the paper's networks by mmdetection's settings."""
    channels, depth = next(sizes for sizes, known in _NETWORKS.items() if known == name)
    heads = [channels // 32 * 2**stage for stage in range(4)]
    return {"embed_dims": channels, "depths": [2, 2, depth, 2], "num_heads": heads}


def flat_positions(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the positions in a window, by our names, of all pairs of its patches [S * S]; theirs are [S, S]."""
    return {name: value.flatten() for name, value in weights.items() if name.endswith("relative_position_index")}


def merged_here(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return mmdetection's mergings of patches, by our names, in the order of the authors' code.

    Args:
        weights: all weights; those of mergings are [..., C * 4], four patches of a channel side by side.
    """
    changed = {}
    for name, value in weights.items():
        if _OURS_OF_MERGING.fullmatch(name):
            by_channel = value.unflatten(-1, (-1, 2, 2))  # channel, row, column
            changed[name] = by_channel.permute(*range(value.ndim - 1), -1, -2, -3).flatten(-3)
    return changed


def network_of(weights: Mapping[str, Tensor], source: str) -> tuple[str, int]:
    """Return name and window of the network with these weights, by our names.

    Raises:
        InputError: it is none of the paper's.
    """
    channels = len(weights["backbone.body.0.0.weight"])
    tables = {name: value for name, value in weights.items() if name.endswith(".attn.relative_position_bias_table")}
    depth = sum(name.startswith("backbone.body.5.") for name in tables)
    if (channels, depth) not in _NETWORKS:
        raise InputError(
            f"{source}: a Swin Transformer of {channels} channels with {depth} blocks in its third stage, which is "
            f"none of {', '.join(_NETWORKS.values())}"
        )
    offsets = len(next(iter(tables.values())))  # (2 * window - 1) ** 2
    return _NETWORKS[channels, depth], (math.isqrt(offsets) + 1) // 2
