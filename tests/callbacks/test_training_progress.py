"""How often the progress bar makes the host wait for a figure of the device."""

from types import SimpleNamespace

import pytest
from lightning.pytorch.callbacks import RichProgressBar

from lightning_rcnn.callbacks import training_progress
from lightning_rcnn.callbacks.training_progress import TrainingProgress


@pytest.fixture
def clock(monkeypatch):
    now = SimpleNamespace(seconds=100.0)
    monkeypatch.setattr(training_progress.time, "monotonic", lambda: now.seconds)
    return now


def test_figures_are_read_once_a_second(clock, monkeypatch):
    readings = iter(range(10))
    monkeypatch.setattr(RichProgressBar, "get_metrics", lambda *_: {"train/loss": next(readings)})
    progress = TrainingProgress()
    shown = []
    for _ in range(10):
        shown.append(progress.get_metrics(None, None)["train/loss"])
        clock.seconds += 0.25
    assert shown == [0, 0, 0, 0, 1, 1, 1, 1, 2, 2]
