"""A start that is refused leaves neither a folder nor a run of a logger, and its one line is the last one."""

import json
import logging
import multiprocessing
import time

import numpy as np
import pytest
import wandb

from lightning_rcnn import pack_samples
from lightning_rcnn.cli import refused_start
from lightning_rcnn.cli.refused_start import HeldFolder, make_and_hold, removed_if_unused
from lightning_rcnn.cli.run_lock import LOCK, hold_for, is_held
from lightning_rcnn.errors import InputError
from lightning_rcnn.lightning_messages import hush_lightning


@pytest.fixture
def others(workplace, shards):
    """Names of packed sets that do not go with `shards`: of other classes, of five channels."""
    labels = ["ellipse", "rectangle", "triangle", "star"]
    for name, classes, channels in (("classes", ["cat", "dog"], 3), ("channels", labels, 5)):
        image = np.zeros((64, 64, channels), np.uint8)
        objects = {"boxes": [[4, 4, 40, 40]] * len(classes), "labels": classes}
        pack_samples([{"image": image, **objects}] * 2, workplace / name, classes=classes)


@pytest.mark.parametrize(
    ("val", "model", "error"),
    [
        ("classes", "FasterRCNN", "data.val does not fit: label 1 is 'ellipse' (id 1) in "),
        ("channels", "FasterRCNN", "data.val: channels has 5 channels"),
        ("channels", "MaskRCNN", "data.val: channels has boxes but no masks"),
    ],
)
def test_it_leaves_nothing(val, model, error, others, error_line, workplace, shards):
    loggers = json.dumps(["DetectionWandbLogger", "CSVLogger", "TensorBoardLogger"])
    data = ("--data.train", shards / "train", "--data.val", val)
    words = ("fit", "--config", "tiny.yaml", "--model", model, *data, "--trainer.logger", loggers)
    before = set(workplace.iterdir())
    assert error_line(*words, "--run_dir", "runs/new").startswith(error)
    assert set(workplace.iterdir()) == before
    assert wandb.run is None


def test_what_else_lies_in_the_folder_stays(tmp_path):
    folder = tmp_path / "runs" / "mine"
    lock, made = make_and_hold(folder, [])
    assert made == [folder, tmp_path / "runs"]
    lock.close()
    (folder / "notes.txt").touch()
    with pytest.raises(InputError), removed_if_unused(lambda: made):
        raise InputError("refused")
    assert {path.name for path in folder.iterdir()} == {LOCK, "notes.txt"}
    (folder / "notes.txt").unlink()
    lock, made_by_another = make_and_hold(folder, [])
    lock.close()
    with pytest.raises(InputError), removed_if_unused(lambda: made_by_another):
        raise InputError("refused")
    assert folder.exists(), "it was there before"
    with removed_if_unused(lambda: made):
        pass
    assert folder.exists(), "nothing was refused"
    with pytest.raises(InputError), removed_if_unused(lambda: made):
        raise InputError("refused")
    assert not (tmp_path / "runs").exists()


def test_a_folder_that_another_start_has_made_at_the_same_time_is_its_own(tmp_path, monkeypatch):
    """Both saw none. A second training would start there if the lock of the first were removed."""
    folder, context, holders = tmp_path / "runs" / "new", multiprocessing.get_context("fork"), []

    def made_by_another(given, option):
        is_held = context.Event()
        holders.append(context.Process(target=hold_until_killed, args=(given, is_held)))
        holders[0].start()
        assert is_held.wait(30)

    monkeypatch.setattr(refused_start, "require_folder", made_by_another)
    held = HeldFolder(None, [])
    try:
        with pytest.raises(InputError, match="another training writes there"), removed_if_unused(lambda: held.made):
            held = make_and_hold(folder, [])
        assert is_held(folder)
    finally:
        holders[0].kill()
        holders[0].join()


def hold_until_killed(folder, is_held):
    file = hold_for(folder, [])
    is_held.set()
    time.sleep(60)
    file.close()


def test_other_ranks_make_no_folder(error_line, workplace, shards, monkeypatch):
    """It would stay when the first one has removed it."""
    for name, value in {"RANK": "1", "LOCAL_RANK": "1", "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2"}.items():
        monkeypatch.setenv(name, value)
    words = ("fit", "--config", "tiny.yaml", "--data.train", shards / "train", "--run_dir", "runs/new")
    before = set(workplace.iterdir())
    assert "trainer" in error_line(*words, "--trainer.accelerator", "tpu")
    assert set(workplace.iterdir()) == before


def test_lightnings_tips_are_not_printed():
    hush_lightning()
    logger = logging.getLogger("lightning.pytorch.utilities.rank_zero")
    lines = [
        "Tip: For seamless cloud logging, try installing litlogger",
        "TPU available: False, using: 0 TPU cores",
        "GPU available: True (cuda), used: False",
    ]
    assert [line for line in lines if logger.filter(logging.makeLogRecord({"msg": line}))] == lines[2:]
