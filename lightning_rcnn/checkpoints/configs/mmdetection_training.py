"""What mmdetection's configurations, of 2.x and 3.x, say of pixels, transforms, optimizer and schedule."""

import re
from typing import Any

from lightning_rcnn.checkpoints.configs.mmdetection_schedule import TrainingLength, read_schedule
from lightning_rcnn.checkpoints.configs.source_keys import SourceKeys
from lightning_rcnn.checkpoints.configs.training import transforms_of
from lightning_rcnn.checkpoints.translation import part

_OPTIMIZERS: dict[str, tuple[str, ...]] = {
    "SGD": ("lr", "momentum", "weight_decay", "nesterov"),
    "Adam": ("lr", "betas", "eps", "weight_decay"),
    "AdamW": ("lr", "betas", "eps", "weight_decay"),
}
_LOADING = re.compile(r"Load\w+|Pad|Normalize|DefaultFormatBundle|Collect|PackDetInputs|ImageToTensor")
"""Steps of a pipeline that change no image, or that a model's preprocessing does."""
_STEPS = {
    "optim_wrapper": ("OptimWrapper", "AmpOptimWrapper"),
    "optimizer_config": ("OptimizerHook", "Fp16OptimizerHook", "GradientCumulativeOptimizerHook"),
}
"""What takes steps of the optimizer: the types that Lightning's trainer replaces."""
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
    length = _length(keys)
    trainer = _trainer(keys, length)
    return model | read_schedule(keys, length), {"trainer": trainer} if trainer else {}


def _length(keys: SourceKeys) -> TrainingLength:
    accumulated = keys["optim_wrapper.accumulative_counts"] or keys["optimizer_config.cumulative_iters"] or 1
    return TrainingLength(
        keys["train_cfg.max_epochs"] or keys["runner.max_epochs"] or keys["total_epochs"],
        keys["train_cfg.max_iters"] or keys["runner.max_iters"] or keys["total_iters"],
        accumulated,
    )


def _trainer(keys: SourceKeys, length: TrainingLength) -> dict[str, Any]:
    trainer: dict[str, Any] = {}
    if length.epochs:
        trainer["max_epochs"] = length.epochs
    elif length.iterations:
        trainer |= {"max_epochs": -1, "max_steps": length.iterations // length.accumulated}
    if length.accumulated > 1:
        trainer["accumulate_grad_batches"] = length.accumulated
    if clip := keys["optim_wrapper.clip_grad.max_norm"] or keys["optimizer_config.grad_clip.max_norm"]:
        trainer["gradient_clip_val"] = clip
    for key, known in _STEPS.items():
        if keys[f"{key}.type"] not in (None, *known):
            keys.name_left(f"{key}.type")
    if keys["optim_wrapper.type"] == "AmpOptimWrapper" or keys.section("fp16"):
        trainer["precision"] = "bf16-mixed" if keys["optim_wrapper.dtype"] == "bfloat16" else "16-mixed"
    for key in ("optim_wrapper.loss_scale", "fp16.loss_scale"):  # ours is dynamic
        if isinstance(keys[key], (int, float)):
            keys.name_left(key)
    if _has_sync_norms(keys):
        trainer["sync_batchnorm"] = True
    return trainer


def _has_sync_norms(keys: SourceKeys) -> bool:
    """Tell whether norms that are trained share their statistics among ranks."""
    frozen = ("model.backbone.", "model.roi_head.shared_head.") if keys["model.backbone.norm_eval"] else ("-",)
    names = [name for name in keys.names_below("model") if name.endswith("norm_cfg.type")]
    return any(keys[name] == "SyncBN" for name in names if not name.startswith(frozen))


def _norm_decay(keys: SourceKeys, start: str) -> float | None:
    """Return the factor of the weight decay of norms, and of positions with them; None if it is not stated."""
    of_all, of_custom = keys[f"{start}norm_decay_mult"], keys[f"{start}custom_keys.norm.decay_mult"]
    factor: float | None = of_all if of_custom is None else of_custom
    for positions in ("relative_position_bias_table", "absolute_pos_embed"):
        key = f"{start}custom_keys.{positions}.decay_mult"
        if keys[key] not in (None, factor):
            keys.name_left(key)
    is_swin = keys["model.backbone.type"] == "SwinTransformer"
    positions = f"{start}custom_keys.relative_position_bias_table.decay_mult"
    if is_swin and factor not in (None, 1.0) and not keys.is_given(positions):
        keys.name_left_value(positions, 1.0)  # ours have the decay of norms
    return factor
