"""Trainings in configurations that detectron2's LazyConfig writes, under the keys of its other configurations."""

import re
from collections.abc import Mapping
from typing import Any

SCALE_JITTER = "INPUT.SCALE_JITTER"
"""Key of ours: [smallest factor, largest factor, height, width] of `ResizeScale` and `FixedSizeCrop`."""
OPTIMIZER, LAYER_DECAY = "SOLVER.OPTIMIZER", "SOLVER.LAYER_DECAY"
"""Keys of ours: name of the optimizer, and the factor of the rate from layer to layer of a vision transformer."""
_FACTORS = "optimizer.params.lr_factor_func"
_OVERRIDE = re.compile(r"optimizer\.params\.overrides\.(\w+)\.(\w+)")
_SCHEDULES = {"MultiStepParamScheduler": "WarmupMultiStepLR", "CosineParamScheduler": "WarmupCosineLR"}
_SAMPLER = "dataloader.train.sampler._target_"


def solver_of(leaves: Mapping[str, Any]) -> dict[str, Any]:
    """Return the optimizer, its groups of parameters, and the schedule of the rate.

    Args:
        leaves: settings by dotted key.
    """
    found: dict[str, Any] = {}
    steps, updates = leaves.get("train.max_iter"), leaves.get("lr_multiplier.scheduler.num_updates")
    if (share := leaves.get("lr_multiplier.warmup_length")) is not None and steps:
        found["SOLVER.WARMUP_ITERS"] = round(share * steps)
    if (milestones := leaves.get("lr_multiplier.scheduler.milestones")) and steps and updates:
        found["SOLVER.STEPS"] = [round(milestone * steps / updates) for milestone in milestones]
    values = leaves.get("lr_multiplier.scheduler.values")
    if values and len(values) > 1:
        gamma = round(values[1] / values[0], 6)
        if [round(value, 6) for value in values] == [round(gamma**step, 6) for step in range(len(values))] and gamma:
            found["SOLVER.GAMMA"] = gamma
        else:
            found["lr_multiplier.scheduler.values"] = values
    if "lr_multiplier.scheduler._target_" in leaves:
        kind = str(leaves["lr_multiplier.scheduler._target_"])
        found["SOLVER.LR_SCHEDULER_NAME"] = _SCHEDULES.get(kind.rpartition(".")[2], kind)
    return found | _optimizer(leaves)


def _optimizer(leaves: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    name = str(leaves.get("optimizer._target_", "SGD")).rpartition(".")[2]
    if name in ("SGD", "AdamW"):
        found[OPTIMIZER] = name
    else:
        found["optimizer._target_"] = leaves["optimizer._target_"]
    factors = {key: value for key, value in leaves.items() if key == _FACTORS or key.startswith(f"{_FACTORS}.")}
    rates = [value for key, value in factors.items() if key.endswith(".lr_decay_rate")]
    if rates:  # `get_vit_lr_decay_rate` with its arguments
        found[LAYER_DECAY] = rates[0]
    elif factors:
        found[_FACTORS] = "a function"
    of_norms = leaves.get("optimizer.params.weight_decay_norm", leaves.get("optimizer.weight_decay"))
    for key, value in leaves.items():  # positions have the decay of norms here
        override = _OVERRIDE.fullmatch(key)
        if override and (override.groups() != ("pos_embed", "weight_decay") or value != of_norms):
            found[key] = value
    return found


def input_of(leaves: Mapping[str, Any]) -> dict[str, Any]:
    """Return sizes, transforms and sampling of images.

    Args:
        leaves: settings by dotted key.
    """
    found: dict[str, Any] = {}
    for start, phase in (("dataloader.train.", "TRAIN"), ("dataloader.test.", "TEST")):
        number = 0
        while (kind := leaves.get(f"{start}mapper.augmentations.{number}._target_")) is not None:
            at = f"{start}mapper.augmentations.{number}."
            settings = _augmentation(leaves, at, str(kind), phase)
            # Ours have one of each: a second flip or resize would replace the first.
            found |= {f"{at}_target_": kind} if settings.keys() & found.keys() else settings
            number += 1
        if number and phase == "TRAIN":
            found.setdefault("INPUT.RANDOM_FLIP", "none")
    if _SAMPLER in leaves:
        name = str(leaves[_SAMPLER]).rpartition(".")[2]
        found["DATALOADER.SAMPLER_TRAIN"] = name
    return found


def _augmentation(leaves: Mapping[str, Any], at: str, kind: str, phase: str) -> dict[str, Any]:
    """Return the settings of one transform; one without a counterpart keeps its name."""
    name = kind.rpartition(".")[2]
    if name == "ResizeShortestEdge":
        sizes = {
            f"INPUT.MIN_SIZE_{phase}": leaves[f"{at}short_edge_length"],
            f"INPUT.MAX_SIZE_{phase}": leaves.get(f"{at}max_size"),
        }
        style = {"INPUT.MIN_SIZE_TRAIN_SAMPLING": leaves.get(f"{at}sample_style")}
        return sizes | (style if f"{at}sample_style" in leaves else {})
    if name == "RandomFlip":
        flip = {"INPUT.RANDOM_FLIP": "vertical" if leaves.get(f"{at}vertical") else "horizontal"}
        return flip | ({f"{at}prob": leaves[f"{at}prob"]} if leaves.get(f"{at}prob", 0.5) != 0.5 else {})
    if name == "ResizeScale":
        keys = ("min_scale", "max_scale", "target_height", "target_width")
        return {SCALE_JITTER: [leaves[f"{at}{key}"] for key in keys]}
    if name == "FixedSizeCrop" and _jitters_to(leaves, leaves.get(f"{at}crop_size")):
        return {}
    return {f"{at}_target_": kind}


def _jitters_to(leaves: Mapping[str, Any], size: Any) -> bool:
    """Tell whether images are resized for a crop of this size, [height, width]."""
    targets = {key: value for key, value in leaves.items() if re.search(r"\.target_(height|width)$", key)}
    return [*targets.values()] == list(size or []) and bool(targets)
