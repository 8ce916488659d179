"""A start that is refused leaves neither a folder nor a run of a logger, and its one line is the last one."""

import json
import logging

import numpy as np
import pytest
import wandb

from lightning_rcnn import pack_samples
from lightning_rcnn.cli.refused_start import missing_folders, removed_if_unused
from lightning_rcnn.cli.run_lock import LOCK
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
    made = missing_folders(folder)
    assert made == [folder, tmp_path / "runs"]
    folder.mkdir(parents=True)
    for name in (LOCK, "notes.txt"):
        (folder / name).touch()
    with pytest.raises(InputError), removed_if_unused(lambda: made):
        raise InputError("refused")
    assert {path.name for path in folder.iterdir()} == {LOCK, "notes.txt"}
    (folder / "notes.txt").unlink()
    with pytest.raises(InputError), removed_if_unused(lambda: missing_folders(folder)):
        raise InputError("refused")
    assert folder.exists(), "it was there before"
    with removed_if_unused(lambda: made):
        pass
    assert folder.exists(), "nothing was refused"


def test_lightnings_tips_are_not_printed():
    hush_lightning()
    logger = logging.getLogger("lightning.pytorch.utilities.rank_zero")
    lines = [
        "Tip: For seamless cloud logging, try installing litlogger",
        "TPU available: False, using: 0 TPU cores",
        "GPU available: True (cuda), used: False",
    ]
    assert [line for line in lines if logger.filter(logging.makeLogRecord({"msg": line}))] == lines[2:]
