"""Lightning's own tools do what they say, in a real run of a few steps, or are refused with the reason."""

import inspect
import json
import logging
import sys
from collections.abc import Callable

import pytest
import torch
import yaml
from lightning.pytorch import callbacks
from lightning.pytorch.callbacks import BaseFinetuning

from lightning_rcnn.cli.refused_callbacks import REFUSED

CSV = {"class_path": "CSVLogger", "init_args": {"save_dir": "logs", "name": "", "version": ""}}
# Bases, and those that tests/cli/test_training.py has.
ABSTRACT = {"BaseFinetuning", "BasePredictionWriter", "Callback", "Checkpoint", "ProgressBar"}
COVERED = {"RichProgressBar"}
SEEN: list[str] = []


def see(*arguments: object) -> None:
    """What `LambdaCallback` calls."""
    SEEN.append("batch")


@pytest.fixture
def fit(run, shards):
    def run_fit(*words):
        data = ("--data.train", shards / "train", "--data.val", shards / "val", "--run_dir", "run")
        return run("fit", "--config", "tiny.yaml", *data, *words)

    return run_fit


def logged(workplace) -> str:
    return (workplace / "logs" / "metrics.csv").read_text()


def last(workplace) -> dict:
    return torch.load(workplace / "run" / "checkpoints" / "last.ckpt", weights_only=True)


WORKING: list[dict[str, dict]] = [
    {
        "DeviceStatsMonitor": {"cpu_stats": True},
        "EMAWeightAveraging": {"decay": 0.5},
        "LambdaCallback": {"on_train_batch_end": "lambda_target.see"},
        "LearningRateMonitor": {"logging_interval": "step"},
        "ModelCheckpoint": {"dirpath": "kept"},
        "ModelSummary": {},
        "TQDMProgressBar": {},
    },
    {
        "EarlyStopping": {"monitor": "val/bbox/AP", "mode": "max", "stopping_threshold": -1.0},
        "RichModelSummary": {},
        "WeightAveraging": {},
    },
]
"""Callbacks of Lightning with their arguments; those of one dictionary take part in one run."""


def test_each_callback_of_lightning_has_an_answer():
    refused = {name for name in callbacks.__all__ if issubclass(getattr(callbacks, name), tuple(REFUSED))}
    assert set(callbacks.__all__) == ABSTRACT | COVERED | refused | {name for group in WORKING for name in group}


def effects(workplace, outcome) -> dict[str, Callable[[], bool]]:
    """What one sees of each callback after a run of two epochs of three steps."""
    return {
        "DeviceStatsMonitor": lambda: "cpu_percent" in logged(workplace),
        "EarlyStopping": lambda: last(workplace)["global_step"] == 3,
        "EMAWeightAveraging": lambda: "current_model_state" in last(workplace),
        "LambdaCallback": lambda: len(SEEN) == 6,
        "LearningRateMonitor": lambda: "lr-" in logged(workplace),
        "ModelCheckpoint": lambda: len(list((workplace / "kept").glob("*.ckpt"))) == 1,
        "ModelSummary": lambda: "Trainable params" in outcome,
        "RichModelSummary": lambda: "Trainable params" in outcome,
        "TQDMProgressBar": lambda: "Epoch 1: 100%" in outcome,
        "WeightAveraging": lambda: "current_model_state" in last(workplace),
    }


@pytest.mark.parametrize("group", WORKING, ids=" ".join)
@pytest.mark.end_to_end
def test_callbacks_do_what_they_say(fit, workplace, monkeypatch, caplog, group):
    monkeypatch.setitem(sys.modules, "lambda_target", inspect.getmodule(see))
    SEEN.clear()
    given = [{"class_path": f"lightning.pytorch.callbacks.{name}", "init_args": group[name]} for name in group]
    words = ("--trainer.logger", json.dumps(CSV), "--trainer.max_epochs", "2", "--trainer.log_every_n_steps", "1")
    bar = ("--trainer.enable_progress_bar", "true") if "TQDMProgressBar" in group else ()
    with caplog.at_level(logging.INFO):
        outcome = fit(f"--trainer.callbacks={json.dumps(given)}", *words, *bar)
    assert outcome.status == 0, outcome.err
    seen = effects(workplace, outcome.out + outcome.err + caplog.text)
    assert [name for name in group if not seen[name]()] == []


REFUSED_ARGUMENTS = {
    "GradientAccumulationScheduler": {"scheduling": {"1": 2}},
    "ModelPruning": {"pruning_fn": "l1_unstructured"},
    "OnExceptionCheckpoint": {"dirpath": "kept"},
    "StochasticWeightAveraging": {"swa_lrs": 0.1},
    "ThroughputMonitor": {"batch_size_fn": "builtins.len"},
}
NAMES = [name for name in callbacks.__all__ if issubclass(getattr(callbacks, name), tuple(REFUSED))]


@pytest.mark.parametrize("name", sorted(set(NAMES) - ABSTRACT))
@pytest.mark.end_to_end
def test_a_callback_that_would_not_is_refused_with_the_reason(error_line, shards, name):
    entry = {"class_path": f"lightning.pytorch.callbacks.{name}", "init_args": REFUSED_ARGUMENTS.get(name, {})}
    line = error_line(
        *("fit", "--config", "tiny.yaml", "--data.train", shards / "train"),
        f"--trainer.callbacks={json.dumps([entry])}",
    )
    assert line.startswith(f"trainer.callbacks: {name} does not work here: ")


class Unfreezing(BaseFinetuning):
    """Somebody's own staged unfreezing."""


def test_what_derives_from_a_refused_callback_is_refused(error_line, shards, monkeypatch):
    monkeypatch.setitem(sys.modules, "somebodys", inspect.getmodule(Unfreezing))
    words = ("fit", "--config", "tiny.yaml", "--data.train", shards / "train")
    line = error_line(*words, "--trainer.callbacks", "somebodys.Unfreezing")
    assert line.startswith("trainer.callbacks: Unfreezing does not work here: layers that join")


@pytest.mark.parametrize(("name", "value"), [("enable_checkpointing", "false"), ("barebones", "true")])
def test_a_run_without_checkpoints_is_refused(error_line, shards, name, value):
    words = ("fit", "--config", "tiny.yaml", "--data.train", shards / "train", f"--trainer.{name}", value)
    assert error_line(*words).startswith(f"trainer.{name} {value}: every run keeps last.ckpt")


@pytest.mark.end_to_end
def test_a_drawn_seed_is_recorded_and_kept(fit, workplace, monkeypatch):
    def recorded():
        return yaml.safe_load((workplace / "run" / "config.yaml").read_text())["seed_everything"]

    monkeypatch.delenv("PL_GLOBAL_SEED", raising=False)
    words = ("--seed_everything", "true", "--data.val", "null", "--trainer.limit_train_batches", "1")
    assert fit(*words).status == 0
    seed = recorded()
    assert type(seed) is int
    assert last(workplace)["DetectionDataModule"]["seed"] == seed
    assert fit(*words, "--ckpt_path", "last", "--trainer.max_epochs", "2").status == 0
    assert recorded() == seed
    assert last(workplace)["DetectionDataModule"]["seed"] == seed


def test_each_process_of_a_launcher_would_draw_its_own_seed(error_line, shards, monkeypatch):
    monkeypatch.delenv("PL_GLOBAL_SEED", raising=False)
    monkeypatch.setenv("WORLD_SIZE", "2")
    words = ("fit", "--config", "tiny.yaml", "--data.train", shards / "train", "--seed_everything", "true")
    assert error_line(*words).startswith("--seed_everything true: each process")
