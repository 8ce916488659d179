"""Training sets of mmdetection's configurations: those within others, batches, samplers, hooks."""

from typing import Any, NamedTuple

from lightning_rcnn.checkpoints.configs.source_keys import SourceKeys

_BATCH_SIZES = ("train_dataloader.batch_size", "data.samples_per_gpu", "data.imgs_per_gpu")
_SAMPLER = "train_dataloader.sampler."
_HARMLESS_HOOKS = ("NumClassCheckHook", "CheckInvalidLossHook", "MemoryProfilerHook", "EmptyCacheHook")
"""Hooks that change no weight."""


class TrainingSet(NamedTuple):
    """Start of the keys of a training set, and how often a set around it repeats it in an epoch."""

    key: str
    repeats: int


def training_set(keys: SourceKeys) -> TrainingSet:
    """Return the innermost training set; what a set around it does beside repeating it is named."""
    key = "train_dataloader.dataset" if keys.names_below("train_dataloader.dataset") else "data.train"
    repeats = 1
    while True:
        if keys.names_below(f"{key}.0"):  # several sets, one behind the other
            keys.name_left(f"{key} with several sets")
            key = f"{key}.0"
            continue
        inner = next((name for name in ("dataset", "datasets") if keys.names_below(f"{key}.{name}")), None)
        if inner is None:
            return TrainingSet(key, repeats)
        if keys[f"{key}.type"] == "RepeatDataset":
            repeats *= keys[f"{key}.times"] or 1
        elif inner == "dataset":
            keys.name_left(f"{key}.type")
        key = f"{key}.{inner}"


def read_loading(keys: SourceKeys, training_set: str) -> dict[str, Any]:
    """Return settings of our data module; samplers other than the default and hooks are named.

    Args:
        keys: settings of the configuration.
        training_set: start of the keys of the innermost training set.
    """
    if keys[f"{_SAMPLER}type"] not in (None, "DefaultSampler", "InfiniteSampler"):
        keys.name_left(f"{_SAMPLER}type")
    if keys[f"{_SAMPLER}shuffle"] is False:
        keys.name_left(f"{_SAMPLER}shuffle")
    for hook in keys.items_of("custom_hooks"):
        if hook.get("type") not in _HARMLESS_HOOKS:
            keys.name_left(f"custom_hooks {hook.get('type')}")
    sizes = [size for key in _BATCH_SIZES if (size := keys[key])]
    settings: dict[str, Any] = {"batch_size": sizes[0]} if sizes else {}
    if keys[f"{training_set}.filter_cfg.filter_empty_gt"]:
        settings["sampling"] = {"class_path": "Sampling", "init_args": {"empty_share": 0.0}}
    return settings
