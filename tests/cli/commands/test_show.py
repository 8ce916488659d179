"""`lightning-rcnn show`: the batches of a training as images and figures, without a training."""

import re

import numpy as np
import pytest
import torch
import yaml
from PIL import Image
from rich.console import Console

from lightning_rcnn.cli.commands import show
from lightning_rcnn.data.cache import ShardCache
from lightning_rcnn.data.fetch import FetchPolicy
from lightning_rcnn.data.pack.proposal_shards import write_proposals
from lightning_rcnn.data.shards import read_shards
from lightning_rcnn.detectors.base import Detector

TRANSFORMS = """
data:
  train_transforms:
    - HorizontalFlip
    - {class_path: PhotometricDistortion, init_args: {p: 0.8}}
    - {class_path: Noise, init_args: {p: 1.0}}
    - {class_path: torchvision.transforms.v2.RandomCrop, init_args: {size: [40, 50], pad_if_needed: true}}
    - {class_path: torchvision.transforms.v2.SanitizeBoundingBoxes}
"""


@pytest.fixture
def words(workplace, shards):
    (workplace / "transforms.yaml").write_text(TRANSFORMS)
    return "--config", "tiny.yaml", "--config", "transforms.yaml", "--data.train", shards / "train"


def rows_of(text):
    """The cells of the table: batch -> frame, images, empty, objects, lost, shortest edge, anchors."""
    lines = [line.split() for line in text.splitlines() if re.match(r"(\d+|all) ", line)]
    return {line[0]: line[1:] if line[0] != "all" else ["", *line[1:]] for line in lines}  # of all no one frame


@pytest.mark.end_to_end
def test_it_shows_the_batches_of_the_training(run, words, workplace, shards, monkeypatch):
    trained, shown, epochs = [], [], []

    def note(detector, batch, batch_idx):
        trained.append(batch)

    def note_and_draw(model, rpn, batch, *others):
        shown.append(batch)
        return draw(model, rpn, batch, *others)

    draw = show._draw
    monkeypatch.setattr(Detector, "on_train_batch_start", note)
    monkeypatch.setattr(show, "_draw", note_and_draw)
    before = {path.name for path in workplace.iterdir()}
    for epoch in ("0", "1"):
        outcome = run("show", *words, "--out", "sheets", "--epoch", epoch, "--seed_everything", "3")
        assert outcome.status == 0
        epochs.append(rows_of(outcome.out))
    # It writes nothing but the sheets, of the three batches that an epoch has.
    assert {path.name for path in workplace.iterdir()} - before == {"sheets"}
    names = [f"epoch_{epoch}_batch_00000{batch}.jpg" for epoch in (0, 1) for batch in range(3)]
    assert sorted(path.name for path in (workplace / "sheets").iterdir()) == names
    assert "3 sheets are in sheets." in outcome.out

    assert run("fit", *words, "--run_dir", "run", "--trainer.max_epochs", "2", "--seed_everything", "3").status == 0
    assert len(trained) == len(shown) == 6
    for first, second in zip(trained, shown, strict=True):
        assert torch.equal(first.images, second.images)
        assert torch.equal(first.image_ids, second.image_ids)
        assert torch.equal(first.targets.boxes, second.targets.boxes)
        assert torch.equal(first.targets.labels, second.targets.labels)

    # The table counts what is in the batches.
    for epoch, rows in enumerate(epochs):
        batches = shown[3 * epoch : 3 * epoch + 3]
        counts = [int((batch.targets.labels > 0).sum()) for batch in batches]
        assert [int(rows[key][3]) for key in ("0", "1", "2", "all")] == [*counts, sum(counts)]
        edges = [boxes[:, 2:] - boxes[:, :2] for boxes in (b.targets.boxes[b.targets.labels > 0] for b in batches)]
        assert float(rows["all"][5]) == pytest.approx(torch.cat(edges).min().item(), abs=0.06)
        annotated = 0
        for shard in read_shards(str(shards / "train")).index.shards:
            annotated += sum(shard.objects)
        assert rows["all"][4] == f"{1 - sum(counts) / annotated:.1%}"


def test_weights_loggers_and_validation_data_are_left_out(run, words, workplace):
    extra = {
        "trainer": {"logger": {"class_path": "DetectionWandbLogger"}, "devices": 8, "strategy": "ddp"},
        "data": {"val": "nowhere"},
        "model": {"init_args": {"weights": "nowhere.ckpt", "backbone": {"init_args": {"weights": "nowhere.pth"}}}},
    }
    (workplace / "extra.yaml").write_text(yaml.safe_dump(extra))
    outcome = run("show", *words, "--config", "extra.yaml", "--out", "sheets", "--batches", "1")
    assert outcome.status == 0
    assert "1 sheet is in sheets." in outcome.out
    assert not (workplace / "wandb").exists()
    with Image.open(workplace / "sheets" / "epoch_0_batch_000000.jpg") as sheet:
        assert min(sheet.size) > 500


@pytest.mark.end_to_end
def test_masks_and_proposals_without_anchors(run, words, workplace, shards):
    masks = run(
        "show", *words, "--model", "MaskRCNN", "--model.backbone.name", "resnet18", "--out", "a", "--batches", "1"
    )
    assert masks.status == 0
    assert "Anchors of 32, 64, 128, 256, 512 px" in masks.out

    policy = FetchPolicy(30.0, 1)
    boxes = np.array([[0, 0, 30, 30, 1]], np.float32)
    write_proposals(
        read_shards(str(shards / "train"), policy),
        ShardCache(None, 1e9, policy),
        workplace / "proposed",
        lambda sample: boxes,
        "one box",
        workers=1,
        console=Console(quiet=True),
    )
    options = ("--model", "FastRCNN", "--data.train", "proposed")
    outcome = run("show", *options, "--out", "b", "--batches", "1", "--data.num_workers", "0")
    assert outcome.status == 0
    assert "FastRCNN has no anchors: proposals come with the data." in outcome.out
    assert "best" not in outcome.out
    assert (workplace / "b" / "epoch_0_batch_000000.jpg").is_file()


@pytest.mark.end_to_end
def test_wrong_input_is_one_line(error_line, words, workplace):
    assert error_line("show", "--config", "tiny.yaml", "--out", "a").startswith("no data to show: give --data.train")
    assert error_line("show", *words) == "no folder for the sheets: give --out DIR"
    (workplace / "file").write_text("")
    assert error_line("show", *words, "--out", "file") == (
        "--out file: cannot be written (File exists); choose another folder"
    )
    assert error_line("show", *words, "--out", "a", "--batches", "0").startswith("--batches: ")
    assert error_line("show", *words, "--out", "a", "--epoch", "-1").startswith("--epoch: ")
    assert error_line("show", *words, "--out", "a", "--batch", "1").startswith("--batch: no such option")
    assert error_line("show", "--data.train", "x", "--out", "a").startswith("no model: give a configuration")
    mistake = ("--data.train_transforms", "[{class_path: Blur, init_args: {p: 2}}]")
    assert "Blur: p 2.0 is not a probability; give 0 to 1" in error_line("show", *words, "--out", "a", *mistake)
