"""What mmdetection's configurations, of 2.x and 3.x, say of a training: data, optimizer, trainer."""

from typing import Any

from lightning_rcnn.checkpoints.configs.mmdetection_dataset import read_loading, training_set
from lightning_rcnn.checkpoints.configs.mmdetection_pipeline import read_pipelines
from lightning_rcnn.checkpoints.configs.mmdetection_schedule import TrainingLength, read_schedule
from lightning_rcnn.checkpoints.configs.source_keys import SourceKeys
from lightning_rcnn.checkpoints.translation import part

_OPTIMIZERS: dict[str, tuple[str, ...]] = {
    "SGD": ("lr", "momentum", "weight_decay", "nesterov"),
    "Adam": ("lr", "betas", "eps", "weight_decay"),
    "AdamW": ("lr", "betas", "eps", "weight_decay"),
}
_STEPS = {
    "optim_wrapper": ("OptimWrapper", "AmpOptimWrapper"),
    "optimizer_config": ("OptimizerHook", "Fp16OptimizerHook", "GradientCumulativeOptimizerHook"),
}
"""What takes steps of the optimizer: the types that Lightning's trainer replaces."""
_OPTIMIZER_OF = ("optim_wrapper.optimizer.", "optimizer.")


def read_training(keys: SourceKeys) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """Return settings of the preprocessing, other settings of the detector, and those of the run."""
    training = training_set(keys)
    preprocessing, data = read_pipelines(keys, training.key)
    data |= read_loading(keys, training.key)
    solver, trainer = _solver(keys)
    if "max_epochs" in trainer and trainer["max_epochs"] > 0:  # theirs count the set around the repeated one
        trainer["max_epochs"] *= training.repeats
    run = {name: settings for name, settings in (("data", data), ("trainer", trainer)) if settings}
    return preprocessing, solver, run


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
    return model | read_schedule(keys, length), _trainer(keys, length)


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
