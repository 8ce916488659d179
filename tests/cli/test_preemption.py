"""A whole run that is asked to stop, and the same command given again."""

import os
import signal

import pytest
import torch

import lightning_rcnn
from lightning_rcnn import stop_signals


@pytest.fixture
def stop_at_step(monkeypatch):
    """Sends a signal to this process within a step; the number of the step can be set."""
    original, step = lightning_rcnn.FasterRCNN.training_step, {}

    def training_step(self, batch, batch_idx):
        if self.trainer.global_step == step.get("number"):
            os.kill(os.getpid(), signal.SIGUSR1)
        return original(self, batch, batch_idx)

    monkeypatch.setattr(lightning_rcnn.FasterRCNN, "training_step", training_step)
    before = {number: signal.getsignal(number) for number in stop_signals.SIGNALS}
    yield step
    stop_signals.forget()
    for number, handler in before.items():
        signal.signal(number, handler)


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
