"""Comparison of the settings of a run folder with those of a command."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from lightning_rcnn.checkpoints.header import read_header
from lightning_rcnn.checkpoints.reading import read_content
from lightning_rcnn.cli.run_paths import CONFIG
from lightning_rcnn.precision import AUTO

DURATIONS = ("trainer.max_epochs", "trainer.min_epochs", "trainer.max_steps", "trainer.min_steps", "trainer.max_time")
"""Settings that say when a training ends."""
FREE = (
    *DURATIONS,
    *("trainer.accelerator", "trainer.strategy", "trainer.devices", "trainer.num_nodes", "trainer.plugins"),
    *("trainer.logger", "trainer.log_every_n_steps", "trainer.profiler", "trainer.enable_autolog_hparams"),
    *("trainer.enable_progress_bar", "trainer.enable_model_summary", "trainer.num_sanity_val_steps"),
    *("data.num_workers", "data.loading.init_args.multiprocessing_context", "data.fetching"),
    *("data.eval_batch_size", "data.test", "data.predict"),
    *("last_checkpoint", "rank_watch", "detection_images", "compilation", "validation_losses"),
    "background_checkpoints",
    *("run_dir", "ckpt_path", "weights_only"),
)
"""Settings, and groups of settings, that may change without making another training of a run."""
PRECISION = "trainer.precision"
COSMETIC = (
    "ProgressBar",
    "TrainingProgress",
    "ProgressLines",
    "LearningRateMonitor",
    "DeviceStatsMonitor",
    "ModelSummary",
    "Timer",
)
"""Suffixes of the names of callbacks that only watch."""


def differences(folder: Path, config: Mapping[str, Any], checkpoint: Path | None = None) -> list[str]:
    """Return changed settings that make another training of a run, as "key before -> now".

    Args:
        folder: run folder; the result is empty if it has no configuration.
        config: settings of the command, as plain values.
        checkpoint: checkpoint of the run; its precision is what "auto" means, before and now.
    """
    path = folder / CONFIG
    if not path.is_file():
        return []
    before, now = _flat(yaml.safe_load(path.read_text()) or {}), _flat(config)
    began_with = None if checkpoint is None else read_header(checkpoint).precision
    for settings in (before, now):
        if began_with is not None and settings.get(PRECISION, AUTO) == AUTO:
            settings[PRECISION] = began_with
    return _changes(before, now, FREE)


def changed_settings(
    before: Mapping[str, Any], now: Mapping[str, Any], but: Sequence[str] = (), also: Sequence[str] = ()
) -> list[str]:
    """Return changed settings that make another training, as "key before -> now".

    Args:
        before, now: settings, as plain values.
        but: settings, and groups of settings, that count as free, too.
        also: free ones that count.
    """
    return _changes(_flat(before), _flat(now), [key for key in (*FREE, *but) if key not in also])


def _changes(before: Mapping[str, Any], now: Mapping[str, Any], free: Sequence[str]) -> list[str]:
    keys = [key for key in dict.fromkeys([*before, *now]) if before.get(key) != now.get(key)]
    return [f"{key} {_shown(before.get(key))} -> {_shown(now.get(key))}" for key in keys if not _is_in(key, free)]


def is_finished(checkpoint: Path, trainer: Mapping[str, Any]) -> bool:
    """Tell whether a training that resumes from a checkpoint has nothing left to do.

    Args:
        checkpoint: checkpoint of the training.
        trainer: settings of the trainer.
    """
    content = read_content(checkpoint)
    loops = content["loops"]["fit_loop"]
    validation = loops["epoch_loop.val_loop.batch_progress"]["current"]
    if validation["ready"] != validation["completed"]:  # the last validation is not done
        return False
    max_epochs, max_steps = trainer.get("max_epochs"), trainer.get("max_steps", -1)
    has_all_epochs = max_epochs not in (None, -1) and loops["epoch_progress"]["current"]["processed"] >= max_epochs
    return has_all_epochs or (max_steps != -1 and content["global_step"] >= max_steps)


def _flat(settings: Mapping[str, Any], above: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in settings.items():
        path = f"{above}{key}"
        if path == "trainer.callbacks":
            callbacks = value if isinstance(value, list) else [value] if value else []
            flat[path] = [entry for entry in callbacks if not entry["class_path"].endswith(COSMETIC)] or None
        elif isinstance(value, Mapping) and value:
            flat |= _flat(value, f"{path}.")
        elif value not in (None, {}):
            flat[path] = value
    return flat


def _is_in(key: str, groups: Sequence[str]) -> bool:
    return any(key == group or key.startswith(f"{group}.") for group in groups)


def _shown(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
