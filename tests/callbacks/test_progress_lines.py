import re

import pytest
import torch
from lightning.pytorch import Callback

from lightning_rcnn import progress
from lightning_rcnn.callbacks.progress_lines import ProgressLines


@pytest.fixture
def passes(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    monkeypatch.setattr("lightning_rcnn.callbacks.step_clock.perf_counter", lambda: now[0])

    def pass_seconds(seconds):
        now[0] += seconds

    return pass_seconds


class Steps(Callback):
    """Each batch of training takes 20 seconds, each of an evaluation 40."""

    def __init__(self, passes):
        self._passes = passes

    def on_train_batch_start(self, *arguments):
        self._passes(20)

    def on_validation_batch_start(self, *arguments):
        self._passes(40)


def lines_of(capsys, what):
    return [line for line in capsys.readouterr().out.splitlines() if line.startswith(what)]


def test_a_training_writes_lines(scorer, make_loader, make_trainer, passes, capsys):
    trainer = make_trainer(ProgressLines(30), Steps(passes), enable_progress_bar=True, limit_val_batches=0)
    trainer.fit(scorer, make_loader([3, 4, 5, 6, 7], batch_size=4))
    lines = lines_of(capsys, "training")
    steps = [re.search(r"epoch 1 of 1, step (\d) of 5, loss (\d)", line).groups() for line in lines]
    assert steps == [("1", "3"), ("3", "5"), ("5", "7")]
    assert "0.2 images/s" in lines[1]
    assert "waiting for data" in lines[1]
    assert "GiB memory" in lines[1]
    assert lines[1].endswith("0:40 left")


def test_validation_writes_lines(scorer, make_loader, make_trainer, passes, capsys):
    trainer = make_trainer(ProgressLines(30), Steps(passes), enable_progress_bar=True)
    trainer.validate(scorer, make_loader([1, 1, 1]), verbose=False)
    lines = lines_of(capsys, "validation")
    assert [re.search(r"batch (\d) of 3", line)[1] for line in lines] == ["1", "2", "3"]
    assert lines[0].endswith("1:20 left")
    assert lines[2].endswith("now scoring")


def test_batches_are_counted_where_no_optimizer_steps(scorer, make_loader, make_trainer, capsys):
    scorer.automatic_optimization = False
    scorer.configure_optimizers = lambda: []
    trainer = make_trainer(ProgressLines(0), enable_progress_bar=True, limit_val_batches=0, max_epochs=2)
    trainer.fit(scorer, make_loader([1, 1, 1], batch_size=1))
    steps = [re.search(r"step (\d of 6)", line)[1] for line in lines_of(capsys, "training")]
    assert steps == [f"{step} of 6" for step in range(1, 7)]


def test_other_ranks_write_nothing(scorer, make_loader, make_trainer, capsys):
    lines = ProgressLines(30)
    trainer = make_trainer(lines, enable_progress_bar=True, limit_val_batches=0)
    lines.disable()
    trainer.fit(scorer, make_loader([1, 1]))
    assert lines_of(capsys, "training") == []


def test_between_lines_nothing_is_read(scorer, make_loader, make_trainer, passes, monkeypatch):
    read = []
    original = torch.Tensor.item
    monkeypatch.setattr(torch.Tensor, "item", lambda tensor: read.append(1) or original(tensor))

    def readings(*callbacks):
        read.clear()
        trainer = make_trainer(*callbacks, enable_progress_bar=bool(callbacks), limit_val_batches=0)
        trainer.fit(scorer, make_loader([1] * 20))
        return len(read)

    assert readings(ProgressLines(1e9)) == readings() + 2  # with the first and the last line
