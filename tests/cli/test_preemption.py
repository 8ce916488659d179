"""A whole run that is asked to stop, and the same command given again."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import lightning_rcnn
from lightning_rcnn import stop_signals
from lightning_rcnn.cli.detection_cli import DetectionCLI


@pytest.fixture
def stop_at_step(monkeypatch):
    """Sends a signal to this process within a step; the number of the step can be set."""
    original, step = lightning_rcnn.FasterRCNN.training_step, {}

    def training_step(self, batch, batch_idx):
        if self.trainer.global_step == step.get("number"):
            os.kill(os.getpid(), signal.SIGUSR1)
        return original(self, batch, batch_idx)

    monkeypatch.setattr(lightning_rcnn.FasterRCNN, "training_step", training_step)
    return step


def start(*words, **environment):
    """The command line as a process that has TERM pending when Python starts, as a job script gives it."""
    shell = 'kill -TERM $$; exec "$0" -m lightning_rcnn "$@"'
    blocked = ["env", "--block-signal=TERM", "sh", "-c", shell, sys.executable, *words]
    path = os.pathsep.join([str(Path(lightning_rcnn.__file__).parents[1]), *sys.path])
    return subprocess.run(
        blocked, capture_output=True, text=True, timeout=60, env={**os.environ, "PYTHONPATH": path, **environment}
    )


def test_a_signal_before_anything_is_trained_ends_the_command_at_once(workplace):
    outcome = start("fit", "--config", "tiny.yaml", "--run_dir", "run")
    line = "lightning-rcnn: stopped by SIGTERM, before the first step; the same command with --ckpt_path last resumes\n"
    assert (outcome.returncode, outcome.stderr) == (75, line)
    assert not (workplace / "run").exists()


def test_a_sweep_that_gives_up_a_run_before_it_trains_sees_no_failure(workplace):
    assert start("fit", "--config", "tiny.yaml", WANDB_SWEEP_ID="sweep").returncode == 0


@pytest.mark.parametrize("place", ["parse_arguments", "instantiate_trainer"])
def test_a_signal_while_the_training_is_built_leaves_no_run_folder(run, workplace, shards, monkeypatch, place):
    original = getattr(DetectionCLI, place)

    def method(self, *args, **kwargs):
        result = original(self, *args, **kwargs)
        signal.raise_signal(signal.SIGUSR1)
        return result

    monkeypatch.setattr(DetectionCLI, place, method)
    outcome = run("fit", "--config", "tiny.yaml", "--data.train", shards / "train", "--run_dir", "run")
    assert outcome.status == 75
    assert "stopped by SIGUSR1, before the first step" in outcome.err
    assert not (workplace / "run").exists()


@pytest.mark.end_to_end
def test_the_same_command_resumes_to_the_same_weights(run, workplace, shards, stop_at_step):
    def fit(folder):
        return run(
            *("fit", "--config", "tiny.yaml", "--data.train", shards / "train", "--data.num_workers", "1"),
            *(
                "--run_dir",
                folder,
                "--ckpt_path",
                "last",
                "--trainer.max_epochs",
                "2",
                "--model.schedule",
                "OneCycleSchedule",
            ),
        )

    def weights(folder):
        return torch.load(workplace / folder / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]

    assert fit("undisturbed").status == 0
    stop_at_step["number"] = 1
    stopped = fit("stopped")
    assert stopped.status == 75
    line = stopped.err.strip().splitlines()[-1]
    assert line.startswith("lightning-rcnn: stopped by SIGUSR1, saved after step 2 in stopped/checkpoints/last.ckpt;")
    stop_signals.forget()
    stop_at_step.clear()
    assert fit("stopped").status == 0
    for name, tensor in weights("undisturbed").items():
        assert torch.equal(tensor, weights("stopped")[name]), name
