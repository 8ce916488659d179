"""Buffers in a file of detectron2: pixel statistics and cell anchors.

Shape letters: A anchors of a cell, sizes times ratios.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from lightning_rcnn.checkpoints.reading import WeightFile
from lightning_rcnn.errors import InputError
from lightning_rcnn.functional.cell_anchors import cell_anchors

CELL_ANCHORS = "proposal_generator.anchor_generator.cell_anchors"
USUAL_SIZES = [32.0, 64.0, 128.0, 256.0, 512.0]
USUAL_RATIOS = [0.5, 1.0, 2.0]
_TOLERANCE = 1e-3
"""Relative; files hold float32, some float16."""


def read_pixels(file: WeightFile, usual: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """Return pixel settings that differ from the usual ones, and notes on them.

    A mean that falls from first to last channel while the usual one rises belongs to a network for RGB.

    Args:
        file: weights and buffers of the detector.
        usual: settings of the profile.

    Raises:
        InputError: not three finite numbers, or a deviation that is not above 0.
    """
    weights, path = file.weights, file.path
    given: dict[str, Any] = {}
    for key in ("pixel_mean", "pixel_std"):
        if key in weights:
            value = weights[key].double().flatten()
            if len(value) != 3 or not value.isfinite().all() or (key == "pixel_std" and value.min() <= 0):
                raise InputError(
                    f"{path}: {key} {value.tolist()}: give three finite numbers{' above 0' * (key == 'pixel_std')}, "
                    "one per channel"
                )
            if not _is_close(value, torch.tensor(usual[key]).double()):
                given[key] = [_short(number) for number in value.tolist()]
    if "pixel_mean" in given:
        mean, expected = given["pixel_mean"], usual["pixel_mean"]
        if (mean[2] - mean[0]) * (expected[2] - expected[0]) < 0:
            given["channel_order"] = "rgb"
    notes = [f"preprocessing.{key} {value}, as the file has it (usual: {usual[key]})." for key, value in given.items()]
    if max(given.get("pixel_mean", [255])) <= 1:
        notes.append(
            "A mean of at most 1 is for pixels of 0 to 1: if it was trained on those, add "
            "--set preprocessing.pixel_range=1."
        )
    return given, notes


def read_anchors(file: WeightFile, neck: str) -> tuple[dict[str, Any], list[str]]:
    """Return anchor settings that differ from the usual ones, and notes on them.

    Args:
        file: weights and buffers of the detector.
        neck: "fpn", or another with a single map.

    Raises:
        InputError: no sizes and ratios of ours give these anchors.
    """
    weights, path = file.weights, file.path
    names = sorted((name for name in weights if name.startswith(f"{CELL_ANCHORS}.")), key=_level)
    if not names:
        return {}, []
    levels = [_sizes_and_ratios(weights[name].double(), f"{path}: {name}") for name in names]
    ratios, order = levels[0][1:]
    sizes = [level[0] for level in levels]
    if any(other != order or not _is_close(torch.tensor(others), torch.tensor(ratios)) for _, others, other in levels):
        raise InputError(f"{path}: {CELL_ANCHORS}: the ratios differ between levels; ours have the same on all")
    if neck == "fpn" and any(len(level) != 1 for level in sizes):
        raise InputError(f"{path}: {CELL_ANCHORS}: several sizes on a level of the pyramid; ours have one")
    if len(levels) != (len(USUAL_SIZES) if neck == "fpn" else 1):
        raise InputError(f"{path}: {CELL_ANCHORS}: {len(levels)} levels do not fit {neck}")
    anchors = {
        "sizes": [size for level in sizes for size in level],
        "ratios": ratios,
        "order": order,
    }
    usual = {"sizes": USUAL_SIZES, "ratios": USUAL_RATIOS, "order": "size_major"}
    given = {
        key: value
        for key, value in anchors.items()
        if value != usual[key] and (key == "order" or not _is_close(torch.tensor(value), torch.tensor(usual[key])))
    }
    notes = [f"rpn.anchors.{key} {value}, as the file has them (usual: {usual[key]})." for key, value in given.items()]
    return given, notes


def _level(name: str) -> tuple[int, str]:
    last = name.rpartition(".")[2]
    return (int(last), "") if last.isdigit() else (-1, last)


def _sizes_and_ratios(cell: Tensor, where: str) -> tuple[list[float], list[float], str]:
    """Return sizes, ratios and their order of anchors [A, 4] around the origin."""
    if cell.ndim != 2 or cell.shape[1] != 4 or not cell.isfinite().all():
        raise InputError(f"{where}: {tuple(cell.shape)}: not finite boxes of four edges")
    width, height = cell[:, 2] - cell[:, 0], cell[:, 3] - cell[:, 1]
    if min(width.min(), height.min()) <= 0:
        raise InputError(f"{where}: an anchor without area; is the file whole?")
    sizes, ratios = _distinct((width * height).sqrt()), _distinct(height / width)
    for order in ("size_major", "ratio_major"):
        if len(sizes) * len(ratios) == len(cell) and _is_close(cell_anchors(sizes, ratios, "exact", order), cell):
            return sizes, ratios, order
    raise InputError(
        f"{where}: {len(cell)} anchors that are not all sizes times all ratios around the origin, as ours are"
    )


def _distinct(numbers: Tensor) -> list[float]:
    """Return the numbers in order of first occurrence, without those close to an earlier one."""
    distinct: list[float] = []
    for number in map(_short, numbers.tolist()):
        if not any(abs(number - earlier) <= _TOLERANCE * earlier for earlier in distinct):
            distinct.append(number)
    return distinct


def _short(number: float) -> float:
    """Round away the noise of float32: 32.0 for 31.999998, .333333 for a third."""
    return float(f"{number:.6g}")


def _is_close(values: Tensor, expected: Tensor) -> bool:
    return values.shape == expected.shape and torch.allclose(
        values.double(), expected.double(), rtol=_TOLERANCE, atol=_TOLERANCE
    )
