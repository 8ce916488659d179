"""Which ResNet a set of weights belongs to, by torchvision's names and their shapes."""

import re
from typing import Any

from lightning_rcnn.checkpoints.reading import WeightFile
from lightning_rcnn.errors import InputError

_BLOCK = re.compile(r"layer([1-4])\.(\d+)\.")
_FIRST_SHAPES: dict[str, tuple[tuple[int, ...], bool, tuple[int, int]]] = {
    "resnet18": ((2, 2, 2, 2), False, (64, 64)),
    "resnet34": ((3, 4, 6, 3), False, (64, 64)),
    "resnet50": ((3, 4, 6, 3), True, (64, 64)),
    "resnet101": ((3, 4, 23, 3), True, (64, 64)),
    "resnet152": ((3, 8, 36, 3), True, (64, 64)),
    "resnext50_32x4d": ((3, 4, 6, 3), True, (128, 4)),
    "resnext101_32x4d": ((3, 4, 23, 3), True, (128, 4)),
    "resnext101_32x8d": ((3, 4, 23, 3), True, (256, 8)),
    "resnext101_64x4d": ((3, 4, 23, 3), True, (256, 4)),
    "resnext152_32x8d": ((3, 8, 36, 3), True, (256, 8)),
    "wide_resnet50_2": ((3, 4, 6, 3), True, (128, 128)),
    "wide_resnet101_2": ((3, 4, 23, 3), True, (128, 128)),
}
"""Of each network: blocks of its stages, whether they are bottlenecks, and channels out of and into each group of the
first block's 3 x 3 convolution."""
BASIC_RESNETS = tuple(name for name, (_, has_bottlenecks, _) in _FIRST_SHAPES.items() if not has_bottlenecks)
"""ResNets whose blocks have two 3 x 3 convolutions."""
_OFFSET = re.compile(r"layer([1-4])\.\d+\.conv2\.offset\.bias")
_OFFSETS, _OFFSETS_AND_WEIGHTS = 18, 27
"""Outputs for nine positions of a kernel: pairs, and with weights of samples."""


def architecture(file: WeightFile) -> str:
    """Return our name of the backbone.

    Args:
        file: weights under torchvision's names; the last stage may be missing.

    Raises:
        InputError: the backbone is none of ours.
    """
    body, path = file.weights, file.path
    blocks: dict[int, int] = {}
    for key in body:
        if match := _BLOCK.match(key):
            blocks[int(match[1])] = max(blocks.get(int(match[1]), 0), int(match[2]) + 1)
    counts = tuple(blocks.get(stage, 0) for stage in (1, 2, 3, 4))
    first = body.get("layer1.0.conv2.weight")
    has_bottlenecks = "layer1.0.conv3.weight" in body
    num_stages = 4 if counts[3] else 3
    alike = [
        name
        for name, (depths, are_bottlenecks, _) in _FIRST_SHAPES.items()
        if depths[:num_stages] == counts[:num_stages] and are_bottlenecks == has_bottlenecks
    ]
    if first is None or not alike or "conv1.weight" not in body:
        raise InputError(f"{path}: its backbone has {counts} blocks in its stages, like none of our ResNets")
    width, inputs = first.shape[:2]
    fitting = [name for name in alike if _FIRST_SHAPES[name][2] == (width, inputs)]
    if not fitting:
        raise InputError(
            f"{path}: its backbone is a {alike[0]} of another width ({width} x {inputs} in its first block)"
        )
    return fitting[0]


def deformable(file: WeightFile) -> dict[str, Any]:
    """Return the settings of deformable convolutions, as the backbone's; nothing without them.

    Args:
        file: weights under torchvision's names, with offsets as in `backbones/deformable.py`.
    """
    offsets = {match: file.weights[name] for name in file.weights if (match := _OFFSET.fullmatch(name))}
    if not offsets:
        return {}
    channels = len(next(iter(offsets.values())))
    is_modulated = channels % _OFFSETS_AND_WEIGHTS == 0
    settings = {
        "stages": sorted({int(match[1]) for match in offsets}),
        "modulated": is_modulated,
        "groups": channels // (_OFFSETS_AND_WEIGHTS if is_modulated else _OFFSETS),
    }
    return {"deformable": {"class_path": "lightning_rcnn.backbones.deformable.Deformable", "init_args": settings}}
