"""Names of RegNet weights: from detectron2's and pycls's to torchvision's, and which RegNet they belong to."""

import re
from collections.abc import Mapping

from torch import Tensor

from lightning_rcnn.checkpoints.reading import WeightFile
from lightning_rcnn.errors import InputError

_STEM = re.compile(r"stem\.(conv|bn)\.(\w+)")
_BLOCK = re.compile(r"s([1-4])\.b(\d+)\.(?:f\.([abc])(_bn)?|(proj)|bn)\.(\w+)")
_SQUEEZE = re.compile(r"s([1-4])\.b(\d+)\.f\.se\.f_ex\.([02])\.(\w+)")
_OURS = re.compile(r"trunk_output\.block([1-4])\.block\d-(\d+)\.f\.b\.0\.weight")
_NETWORKS: dict[tuple[tuple[int, ...], tuple[int, ...], int, bool], str] = {
    ((2, 5, 14, 2), (80, 240, 560, 1360), 40, False): "regnet_x_4gf",
    ((2, 6, 12, 2), (128, 192, 512, 1088), 64, True): "regnet_y_4gf",
}
"""Blocks and channels of the stages, channels of a group, and whether there is squeeze and excitation -> our name."""


def from_detectron2(name: str) -> str | None:
    """Return torchvision's name for one of detectron2's, from `stem` or `s1` on; None if there is none."""
    if match := _STEM.fullmatch(name):
        return f"stem.{int(match[1] == 'bn')}.{match[2]}"
    if match := _SQUEEZE.fullmatch(name):
        return f"{_block(match)}.f.se.fc{int(match[3]) // 2 + 1}.{match[4]}"
    match = _BLOCK.fullmatch(name)
    if match is None:
        return None
    _, _, convolution, norm, shortcut, item = match.groups()
    if convolution:
        return f"{_block(match)}.f.{convolution}.{int(bool(norm))}.{item}"
    return f"{_block(match)}.proj.{int(not shortcut)}.{item}"


def _block(match: re.Match[str]) -> str:
    """Return torchvision's name of a block, which counts from 0."""
    return f"trunk_output.block{match[1]}.block{match[1]}-{int(match[2]) - 1}"


def is_regnet(weights: Mapping[str, Tensor]) -> bool:
    """Tell whether weights by torchvision's names are of a RegNet."""
    return any(_OURS.fullmatch(name) for name in weights)


def network_of(file: WeightFile) -> str:
    """Return our name of the network.

    Args:
        file: weights under torchvision's names.

    Raises:
        InputError: the network is none of ours.
    """
    found = {
        (int(match[1]), int(match[2])): file.weights[match[0]] for match in map(_OURS.fullmatch, file.weights) if match
    }
    depths = tuple(sum(stage == number for stage, _ in found) for number in range(1, 5))
    widths = tuple(len(found[number, 0]) if (number, 0) in found else 0 for number in range(1, 5))
    group_width = next(iter(found.values())).shape[1]
    is_squeezed = any(".f.se." in name for name in file.weights)
    name = _NETWORKS.get((depths, widths, group_width, is_squeezed))
    if name is None:
        raise InputError(
            f"{file.path}: its backbone is a RegNet of {depths} blocks with {widths} channels, which is none of "
            f"{', '.join(_NETWORKS.values())}"
        )
    return name
