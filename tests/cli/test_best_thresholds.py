"""Thresholds in checkpoints, beside a training that may write them too."""

import logging
import multiprocessing

import pytest
import torch

from lightning_rcnn.cli.best_thresholds import store_thresholds
from lightning_rcnn.cli.run_lock import hold_for

THRESHOLDS = {"score": 0.25, "f1": 0.5, "per_class": {"cat": 0.25}}


@pytest.fixture
def checkpoint(tmp_path):
    path = tmp_path / "best.ckpt"
    torch.save({"state_dict": {"weight": torch.arange(5.0)}, "epoch": 3}, path)
    return path


def test_everything_else_stays(checkpoint, caplog):
    with caplog.at_level(logging.INFO):
        store_thresholds(THRESHOLDS, checkpoint, checkpoint.stat().st_mtime_ns, checkpoint.parent)
    content = torch.load(checkpoint, weights_only=True)
    assert content["score_thresholds"] == THRESHOLDS
    assert content["epoch"] == 3
    assert content["state_dict"]["weight"].tolist() == [0, 1, 2, 3, 4]
    assert "holds the score 0.250 for detect --threshold best" in caplog.text


def test_none_are_not_written(checkpoint):
    before = checkpoint.read_bytes()
    store_thresholds({}, checkpoint, checkpoint.stat().st_mtime_ns, checkpoint.parent)
    assert checkpoint.read_bytes() == before


def test_a_checkpoint_that_was_replaced_stays(checkpoint):
    before = checkpoint.read_bytes()
    with pytest.warns(match="a training writes there, so the best threshold is not stored"):
        store_thresholds(THRESHOLDS, checkpoint, checkpoint.stat().st_mtime_ns - 1, checkpoint.parent)
    assert checkpoint.read_bytes() == before


def train(folder, has_begun, may_end):
    lock = hold_for(folder, [])
    has_begun.set()
    may_end.wait(60)
    lock.close()


def test_a_checkpoint_of_a_running_training_stays(checkpoint):
    before = checkpoint.read_bytes()
    context = multiprocessing.get_context("fork")
    has_begun, may_end = context.Event(), context.Event()
    training = context.Process(target=train, args=(checkpoint.parent, has_begun, may_end))
    training.start()
    assert has_begun.wait(60)
    with pytest.warns(match="a training writes there"):
        store_thresholds(THRESHOLDS, checkpoint, checkpoint.stat().st_mtime_ns, checkpoint.parent)
    may_end.set()
    training.join()
    assert checkpoint.read_bytes() == before
    store_thresholds(THRESHOLDS, checkpoint, checkpoint.stat().st_mtime_ns, checkpoint.parent)
    assert checkpoint.read_bytes() != before
