"""What mmdetection's configurations, of 2.x and 3.x, say of pixels, transforms, optimizer and schedule."""

import re
from typing import Any, NamedTuple

from lightning_rcnn.checkpoints.configs.source_keys import SourceKeys
from lightning_rcnn.checkpoints.configs.training import constant_parts, transforms_of
from lightning_rcnn.checkpoints.translation import part

_OPTIMIZERS: dict[str, tuple[str, ...]] = {
    "SGD": ("lr", "momentum", "weight_decay", "nesterov"),
    "Adam": ("lr", "betas", "eps", "weight_decay"),
    "AdamW": ("lr", "betas", "eps", "weight_decay"),
}
_LOADING = re.compile(r"Load\w+|Pad|Normalize|DefaultFormatBundle|Collect|PackDetInputs|ImageToTensor")
"""Steps of a pipeline that change no image, or that a model's preprocessing does."""
_OPTIMIZER_OF = ("optim_wrapper.optimizer.", "optimizer.")


def read_training(keys: SourceKeys) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """Return settings of the preprocessing, other settings of the detector, and those of the run."""
    train, test = _steps(keys, "train"), _steps(keys, "test")
    preprocessing = _pixels(keys) | _padding(keys, train)
    lengths, longest, flip = _resizes(keys, train)
    if sizes := _sizes(test.get("Resize", {}).get("scale") or test.get("MultiScaleFlipAug", {}).get("img_scale")):
        preprocessing |= {"min_size": min(sizes[0]), "max_size": max(sizes[0])}
    elif lengths and longest:
        preprocessing |= {"min_size": lengths[-1], "max_size": longest}
    run: dict[str, Any] = {}
    if lengths:
        run["data"] = {"train_transforms": transforms_of(flip, lengths, None)}
    for phase, steps in (("train", train), ("test", test)):
        for kind, step in steps.items():
            if "keep_ratio" in step and not step["keep_ratio"]:
                keys.name_left(f"{phase}_pipeline {kind} keep_ratio=False (images keep their aspect ratio here)")
    for kind in train:
        if not _LOADING.fullmatch(kind) and kind not in ("Resize", "RandomFlip", "RandomChoiceResize", "RandomResize"):
            keys.name_left(f"train_pipeline {kind}")
    solver, trainer = _solver(keys)
    return preprocessing, solver, run | trainer


def _pixels(keys: SourceKeys) -> dict[str, Any]:
    """Return mean, deviation and order of channels: of `data_preprocessor` (3.x) or the step `Normalize` (2.x)."""
    mean, std = keys["model.data_preprocessor.mean"], keys["model.data_preprocessor.std"]
    is_rgb = keys["model.data_preprocessor.bgr_to_rgb"]
    if mean is None:
        found = _steps(keys, "train").get("Normalize") or keys.section("img_norm_cfg")
        mean, std, is_rgb = found.get("mean"), found.get("std"), found.get("to_rgb", True)
    if mean is None:
        return {}
    return {
        "pixel_mean": list(mean),
        "pixel_std": list(std or [1.0, 1.0, 1.0]),
        "channel_order": "rgb" if is_rgb else "bgr",
    }


def _padding(keys: SourceKeys, train: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Return the divisor of padded edges: of `data_preprocessor` (3.x, 1 if not given) or the step `Pad` (2.x)."""
    if keys.is_given("model.data_preprocessor.mean"):
        return {"size_divisor": keys["model.data_preprocessor.pad_size_divisor"]}
    divisor = train.get("Pad", {}).get("size_divisor")
    return {"size_divisor": divisor} if divisor else {}


def _steps(keys: SourceKeys, phase: str) -> dict[str, dict[str, Any]]:
    """Return the steps of a pipeline by their type; those of a test with views are inside of one."""
    name = f"{phase}_pipeline"
    steps = (
        keys.items_of(name)
        or keys.items_of(f"{phase}_dataloader.dataset.pipeline")
        or keys.items_of(f"data.{phase}.pipeline")
    )
    return {str(step.get("type")): step for step in steps}


def _sizes(scale: Any) -> list[list[int]]:
    """Return pairs of edges, pixels, from one pair or several."""
    if not isinstance(scale, list) or not scale:
        return []
    return scale if isinstance(scale[0], list) else [scale]


def _resizes(keys: SourceKeys, steps: dict[str, dict[str, Any]]) -> tuple[list[int], int | None, str]:
    """Return lengths of the shorter edge in training, the limit of the longer one, and the direction of flips."""
    flip = steps.get("RandomFlip", {})
    share = flip.get("prob", flip.get("flip_ratio", 0.5)) if flip else 0
    direction = str(flip.get("direction", flip.get("flip_direction", "horizontal"))) if share else "none"
    resize = next((steps[kind] for kind in ("RandomChoiceResize", "RandomResize", "Resize") if kind in steps), {})
    sizes = _sizes(resize.get("scales") or resize.get("scale") or resize.get("img_scale"))
    lengths = sorted({min(pair) for pair in sizes})
    is_range = "RandomResize" in steps or resize.get("multiscale_mode") == "range"
    if is_range and len(lengths) == 2:
        lengths = [*range(lengths[0], lengths[1], 32), lengths[1]]
    return lengths, max((max(pair) for pair in sizes), default=None), direction


def _solver(keys: SourceKeys) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return settings of the detector (optimizer, schedule) and of the trainer."""
    start = next((start for start in _OPTIMIZER_OF if keys.is_given(f"{start}type")), None)
    if start is None:
        return {}, {}
    model: dict[str, Any] = {}
    kind = keys[f"{start}type"]
    if kind in _OPTIMIZERS:
        given = {name: keys[f"{start}{name}"] for name in _OPTIMIZERS[kind]}
        model["optimizer"] = part(
            f"torch.optim.{kind}", **{name: value for name, value in given.items() if value is not None}
        )
    else:
        keys.name_left(f"{start}type")
    norms = _norm_decay(keys, f"{'optim_wrapper.' if 'wrapper' in start else start}paramwise_cfg.")
    decay = (keys[f"{start}weight_decay"] or 0.0) * (1.0 if norms is None else norms)
    model["parameter_groups"] = {"norm_weight_decay": decay}
    if batch := keys["auto_scale_lr.base_batch_size"]:
        model["parameter_groups"] |= {"reference_batch_size": batch}
    schedule, trainer = _length(keys)
    model |= schedule
    clip = keys["optim_wrapper.clip_grad.max_norm"] or keys["optimizer_config.grad_clip.max_norm"]
    if clip:
        trainer["gradient_clip_val"] = clip
    if keys["optim_wrapper.type"] == "AmpOptimWrapper" or keys.section("fp16"):
        trainer["precision"] = "16-mixed"
    return model, {"trainer": trainer} if trainer else {}


def _norm_decay(keys: SourceKeys, start: str) -> float | None:
    """Return the factor of the weight decay of norms, and of positions with them; None if it is not stated."""
    of_all, of_custom = keys[f"{start}norm_decay_mult"], keys[f"{start}custom_keys.norm.decay_mult"]
    factor: float | None = of_all if of_custom is None else of_custom
    for positions in ("relative_position_bias_table", "absolute_pos_embed"):
        key = f"{start}custom_keys.{positions}.decay_mult"
        if keys[key] not in (None, factor):
            keys.name_left(key)
    return factor


class _Schedule(NamedTuple):
    """Schedule of the rate: where it is divided by ten, or whether it follows a cosine, and steps of the warm-up."""

    milestones: list[int]
    is_cosine: bool
    is_by_epoch: bool
    warmup: int


def _length(keys: SourceKeys) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the schedule, and the length of the training for the trainer, in epochs or in steps."""
    epochs = keys["train_cfg.max_epochs"] or keys["runner.max_epochs"] or keys["total_epochs"]
    iterations = keys["train_cfg.max_iters"] or keys["runner.max_iters"] or keys["total_iters"]
    trainer: dict[str, Any] = {}
    if epochs:
        trainer["max_epochs"] = epochs
    elif iterations:
        trainer |= {"max_epochs": -1, "max_steps": iterations}
    schedule = _schedule_of_2(keys) if keys.is_given("lr_config.policy") else _schedule_of_3(keys)
    total = epochs or iterations
    if schedule.is_cosine:
        cosine = part("lightning_rcnn.detectors.schedules.CosineSchedule", warmup_steps=schedule.warmup)
        return {"schedule": cosine}, trainer
    if total and schedule.milestones:
        if schedule.is_by_epoch != bool(epochs):
            keys.name_left("milestones of the rate, in other units than the length of the training")
            return {}, trainer
        return {"schedule": constant_parts(schedule.milestones, total, schedule.warmup)}, trainer
    return {}, trainer


def _schedule_of_2(keys: SourceKeys) -> _Schedule:
    policy = keys["lr_config.policy"]
    steps = (keys["lr_config.step"] or []) if policy == "step" else []
    is_cosine = policy == "CosineAnnealing"
    if (not steps and not is_cosine) or (is_cosine and (keys["lr_config.min_lr"] or keys["lr_config.min_lr_ratio"])):
        keys.name_left("lr_config.policy")
    is_by_epoch = keys["lr_config.by_epoch"] is not False
    milestones = list(steps) if isinstance(steps, list) else [steps]
    return _Schedule(
        milestones, is_cosine, is_by_epoch, keys["lr_config.warmup_iters"] if keys["lr_config.warmup"] else 0
    )


def _schedule_of_3(keys: SourceKeys) -> _Schedule:
    schedule = _Schedule([], is_cosine=False, is_by_epoch=True, warmup=0)
    for number, scheduler in enumerate(keys.items_of("param_scheduler")):
        kind, is_by_epoch = scheduler.get("type"), scheduler.get("by_epoch", True)
        if kind == "LinearLR":
            schedule = schedule._replace(warmup=scheduler.get("end", 0))
            if is_by_epoch or scheduler.get("start_factor", 1 / 3) != 0.001:
                left = "start_factor" if schedule.warmup else "end"
                keys.name_left(f"param_scheduler.{number}.{left}")
        elif kind == "MultiStepLR":
            schedule = schedule._replace(milestones=scheduler.get("milestones", []), is_by_epoch=is_by_epoch)
            if scheduler.get("gamma", 0.1) != 0.1:
                keys.name_left(f"param_scheduler.{number}.gamma")
        elif kind == "CosineAnnealingLR":
            schedule = schedule._replace(is_cosine=True)
            if scheduler.get("eta_min", 0) or scheduler.get("eta_min_ratio", 0):
                keys.name_left(f"param_scheduler.{number}.type")
        else:
            keys.name_left(f"param_scheduler.{number}.type")
    return schedule
