"""The same command, once undisturbed, once killed in mid-epoch and given again: the losses have to be the same."""

import csv
import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

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
