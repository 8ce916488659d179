"""What detectron2's configurations say of a training: solver, data, trainer."""

from collections.abc import Callable, Mapping
from typing import Any

from lightning_rcnn.checkpoints.configs.detectron2_lazy_run import LAYER_DECAY, OPTIMIZER, SCALE_JITTER
from lightning_rcnn.checkpoints.configs.source_keys import SourceKeys
from lightning_rcnn.checkpoints.configs.training import constant_parts, transforms_of
from lightning_rcnn.checkpoints.translation import part
from lightning_rcnn.plain_data import merge


def read_solver(keys: SourceKeys) -> dict[str, Any]:
    """Return the optimizer and the schedule of the rate."""
    total, warmup = keys["SOLVER.MAX_ITER"], keys["SOLVER.WARMUP_ITERS"]
    settings = {"optimizer": _optimizer(keys), "parameter_groups": _parameter_groups(keys)}
    schedules: dict[str, Callable[[], Mapping[str, Any]]] = {
        "WarmupMultiStepLR": lambda: constant_parts(keys["SOLVER.STEPS"], total, warmup),
        "WarmupCosineLR": lambda: part("lightning_rcnn.detectors.schedules.CosineSchedule", warmup_steps=warmup),
    }
    if keys["SOLVER.WEIGHT_DECAY_BIAS"] not in (None, keys["SOLVER.WEIGHT_DECAY"]):
        keys.name_left("SOLVER.WEIGHT_DECAY_BIAS")
    name = keys["SOLVER.LR_SCHEDULER_NAME"]
    if name not in schedules:
        keys.name_left("SOLVER.LR_SCHEDULER_NAME")
        return settings
    return settings | {"schedule": schedules[name]()}


def _optimizer(keys: SourceKeys) -> dict[str, Any]:
    rates = {"lr": keys["SOLVER.BASE_LR"], "weight_decay": keys["SOLVER.WEIGHT_DECAY"]}
    if keys[OPTIMIZER] == "AdamW":
        betas = keys["SOLVER.BETAS"]
        return part("torch.optim.AdamW", **rates, **({"betas": betas} if betas else {}))
    momentum = {"momentum": keys["SOLVER.MOMENTUM"], "nesterov": keys["SOLVER.NESTEROV"]}
    return part("torch.optim.SGD", **rates, **momentum)


def _parameter_groups(keys: SourceKeys) -> dict[str, Any]:
    decay = keys["SOLVER.WEIGHT_DECAY_NORM"]
    groups = {"norm_weight_decay": keys["SOLVER.WEIGHT_DECAY"] if decay is None else decay}
    return groups | ({"layer_decay": factor} if (factor := keys[LAYER_DECAY]) else {})


def read_run(keys: SourceKeys) -> dict[str, Any]:
    """Return the settings of a training beside those of the detector: data, trainer, checkpoints."""
    return merge(_data(keys), _trainer(keys))


def _data(keys: SourceKeys) -> dict[str, Any]:
    lengths, longest = keys["INPUT.MIN_SIZE_TRAIN"], keys["INPUT.MAX_SIZE_TRAIN"]
    lengths = lengths if isinstance(lengths, list) else [lengths]
    if keys["INPUT.MIN_SIZE_TRAIN_SAMPLING"] == "range" and len(lengths) == 2:
        lengths = [*range(lengths[0], lengths[1], 32), lengths[1]]
    jitter = keys[SCALE_JITTER]
    # A batch has the model's limit of the longer edge; another one in training has no counterpart.
    if longest != keys["INPUT.MAX_SIZE_TEST"] and keys.is_given("INPUT.MAX_SIZE_TRAIN"):
        keys.name_left("INPUT.MAX_SIZE_TRAIN")
    sampling: dict[str, Any] = {}
    if keys["DATALOADER.FILTER_EMPTY_ANNOTATIONS"]:
        sampling["empty_share"] = 0.0
    kind = "Sampling"
    if keys["DATALOADER.SAMPLER_TRAIN"] not in ("TrainingSampler", "RepeatFactorTrainingSampler"):
        keys.name_left("DATALOADER.SAMPLER_TRAIN")
    if keys["DATALOADER.SAMPLER_TRAIN"] == "RepeatFactorTrainingSampler":
        kind, sampling["threshold"] = "RepeatFactor", keys["DATALOADER.REPEAT_THRESHOLD"]
    transforms = transforms_of(keys["INPUT.RANDOM_FLIP"], lengths, jitter)
    settings: dict[str, Any] = {"train_transforms": transforms}
    if sampling:
        settings["sampling"] = {"class_path": kind, "init_args": sampling}
    return {"data": settings}


def _trainer(keys: SourceKeys) -> dict[str, Any]:
    settings: dict[str, Any] = {"max_epochs": -1, "max_steps": keys["SOLVER.MAX_ITER"]}
    if keys["SOLVER.AMP.ENABLED"]:
        settings["precision"] = "16-mixed"
    if keys["SOLVER.CLIP_GRADIENTS.ENABLED"]:
        if keys["SOLVER.CLIP_GRADIENTS.CLIP_TYPE"] == "value":
            settings |= {
                "gradient_clip_val": keys["SOLVER.CLIP_GRADIENTS.CLIP_VALUE"],
                "gradient_clip_algorithm": "value",
            }
        else:
            keys.name_left("SOLVER.CLIP_GRADIENTS.CLIP_TYPE")
    return {"trainer": settings, "last_checkpoint": {"every_n_steps": keys["SOLVER.CHECKPOINT_PERIOD"]}}
