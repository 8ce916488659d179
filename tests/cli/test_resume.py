"""A command that is given again: its losses have to be the same, and its loggers have the run to go on with."""

import csv
import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import lightning_rcnn
from lightning_rcnn.cli.resume import IDENTITY, begin_other_run
from lightning_rcnn.errors import InputError
from lightning_rcnn.launchers import HEALING

LOGGER = {"class_path": "CSVLogger", "init_args": {"name": "", "version": ""}}
KILL = """
import os, signal, sys
from lightning.pytorch import Callback
from lightning_rcnn.cli import main

class KillAtStepFive(Callback):
    def on_train_batch_end(self, trainer, *_):
        if trainer.global_step == 5:
            os.kill(os.getpid(), signal.SIGKILL)

sys.modules["killing"] = sys.modules["__main__"]
main([*sys.argv[1:], "--trainer.callbacks", "killing.KillAtStepFive"])
"""


def losses_of(folder: Path) -> dict[int, str]:
    with (folder / "metrics.csv").open() as file:
        return {int(row["step"]): row["train/loss"] for row in csv.DictReader(file) if row["train/loss"]}


@pytest.mark.end_to_end
def test_a_killed_run_resumes_exactly(run, workplace, shards):
    def words(folder: str, log: str) -> list[str]:
        logger = LOGGER | {"init_args": LOGGER["init_args"] | {"save_dir": log}}
        return [
            *("fit", "--config", "tiny.yaml", "--data.train", str(shards / "train"), "--run_dir", folder),
            *("--ckpt_path", "last", "--trainer.logger", json.dumps(logger), "--trainer.log_every_n_steps", "1"),
            *(
                "--trainer.max_epochs",
                "2",
                "--model.schedule",
                "OneCycleSchedule",
                "--last_checkpoint.every_n_steps",
                "2",
            ),
        ]

    assert run(*words("undisturbed", "log")).status == 0
    killed = subprocess.run([sys.executable, "-c", KILL, *words("killed", "log-killed")], capture_output=True)
    assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()
    assert run(*words("killed", "log-resumed")).status == 0

    undisturbed, resumed = losses_of(workplace / "log"), losses_of(workplace / "log-resumed")
    assert list(undisturbed) == list(range(6))
    assert list(resumed) == [4, 5]  # the last checkpoint before the kill was written after step 4
    assert resumed == {step: undisturbed[step] for step in resumed}


@pytest.fixture
def begun(tmp_path):
    """A run folder of a training that has logged, and written no checkpoint."""
    for name in IDENTITY:
        (tmp_path / name).touch()
    return tmp_path


def ids_in(folder):
    return {path.name for path in folder.iterdir()}


def test_from_scratch_with_other_settings_a_new_run_of_the_loggers_begins(begun, caplog):
    caplog.set_level("INFO")
    begin_other_run(begun, None, ["model.optimizer.lr 0.1 -> 0.2"])
    assert not ids_in(begun)
    assert "no checkpoint, and was begun with other settings: model.optimizer.lr 0.1 -> 0.2" in caplog.text


@pytest.mark.parametrize(
    ("checkpoint", "changes", "job"),
    [(None, [], ""), (Path("last.ckpt"), ["a 1 -> 2"], ""), (None, ["data.batch_size 2 -> 3"], f"{HEALING} token")],
    ids=["the same command", "a checkpoint", "a lost node"],
)
def test_else_the_run_goes_on(begun, monkeypatch, checkpoint, changes, job):
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", job)
    begin_other_run(begun, checkpoint, changes)
    assert ids_in(begun) == set(IDENTITY)


@pytest.mark.end_to_end
def test_another_configuration_of_the_same_name_has_a_run_of_its_own(run, workplace, shards, monkeypatch):
    """The first one fails in its first step, and leaves a W&B run."""

    def fail(*_):
        raise InputError("failed")

    monkeypatch.setattr(lightning_rcnn.FasterRCNN, "training_step", fail)
    ids = []
    for rate in ("1e-4", "1e-3", "1e-3"):
        words = ("--trainer.logger", "DetectionWandbLogger", "--model.optimizer.lr", rate)
        outcome = run("fit", "--config", "tiny.yaml", "--data.train", shards / "train", *words)
        assert "failed" in outcome.err
        ids.append((workplace / "runs/tiny/wandb_run_id").read_text())
    assert ids[0] != ids[1] == ids[2]
