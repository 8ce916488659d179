"""R-CNN from the command line: three stages, each from the checkpoint of the one before, and what comes of it."""

import numpy as np
import pytest
import torch
from rich.console import Console

from lightning_rcnn.checkpoints.header import read_header
from lightning_rcnn.data.cache import ShardCache
from lightning_rcnn.data.fetch import FetchPolicy
from lightning_rcnn.data.pack.proposal_shards import write_proposals
from lightning_rcnn.data.shards import read_shards
from lightning_rcnn.detectors.rcnn import RCNN

TINY = """
model:
  init_args:
    norm: batch_norm
    region_size: 63
    region_context: 4
    box_head_width: 16
    proposal_limit: 12
    min_size: 64
    max_size: 96
    schedule: constant
    warmup_steps: 0
    learning_rate: 1e-3
trainer:
  accelerator: cpu
  devices: 1
  max_epochs: 1
  logger: false
  num_sanity_val_steps: 0
  enable_model_summary: false
  enable_progress_bar: false
data:
  batch_size: 2
  num_workers: 0
"""


def grid(image):
    """Boxes of two sizes all over the image, for want of a search."""
    _, height, width = image.shape
    boxes = [
        (x * width / n, y * height / n, (x + 1.5) * width / n, (y + 1.5) * height / n, 1 / n)
        for n in (2, 4)
        for y in range(n - 1)
        for x in range(n - 1)
    ]
    return np.array(boxes, np.float32)


@pytest.fixture(scope="module")
def proposed(shards, tmp_path_factory):
    folder = tmp_path_factory.mktemp("proposed")
    policy = FetchPolicy(30.0, 1)
    for split in ("train", "val"):
        shard_set = read_shards(str(shards / split), policy)
        write_proposals(
            shard_set,
            ShardCache(None, 1e9, policy),
            folder / split,
            grid,
            "a grid",
            workers=1,
            console=Console(quiet=True),
        )
    return folder


@pytest.fixture
def stage(run, workplace, proposed):
    """Runs `fit` of a stage into a folder of its name."""
    (workplace / "rcnn.yaml").write_text(TINY)

    def run_stage(name, *words):
        data = ("--data.train", proposed / "train", "--data.val", proposed / "val")
        return run("fit", "--config", "rcnn.yaml", "--model", name, *data, "--run_dir", name, *words)

    return run_stage


def last(name):
    return f"{name}/checkpoints/last.ckpt"


def test_from_the_network_to_a_whole_detector(stage, run, workplace, proposed):
    assert stage("RCNNFineTuning").status == 0
    fine_tuned = torch.load(last("RCNNFineTuning"), weights_only=True)["state_dict"]

    # Each stage leaves alone what it does not learn.
    outcome = stage("RCNNClassification", "--model.weights", last("RCNNFineTuning"))
    assert outcome.status == 0, outcome.err
    names = {path.name for path in (workplace / "RCNNClassification" / "checkpoints").iterdir()}
    assert "last.ckpt" in names
    classified = torch.load(last("RCNNClassification"), weights_only=True)["state_dict"]
    changed = {name for name in classified if not classified[name].equal(fine_tuned[name])}
    assert changed == {"svms.weight", "svms.bias"}

    assert stage("RCNNBoxRegression", "--model.weights", last("RCNNClassification")).status == 0
    regressed = torch.load(last("RCNNBoxRegression"), weights_only=True)["state_dict"]
    changed = {name for name in regressed if not regressed[name].equal(classified[name])}
    assert changed == {"box_regressors.weight", "box_regressors.bias"}

    # What comes out is an R-CNN, for Python and the other commands.
    header = read_header(last("RCNNBoxRegression"))
    assert header.class_path == "lightning_rcnn.detectors.rcnn.RCNN"
    assert isinstance(RCNN.load_from_checkpoint(last("RCNNBoxRegression")), RCNN)
    quiet = ("--trainer.accelerator", "cpu", "--trainer.enable_progress_bar", "false", "--data.num_workers", "0")
    assert run("validate", "--ckpt_path", last("RCNNBoxRegression"), "--data.val", proposed / "val", *quiet).status == 0

    # A pass is not repeated, and the run goes on with the same command.
    resumed = stage("RCNNBoxRegression", "--model.weights", last("RCNNClassification"), "--ckpt_path", "last")
    assert resumed.status == 0


def test_a_stage_without_the_one_before(stage, complaint, workplace, proposed, shards):
    data = ("--data.train", proposed / "train", "--run_dir", "run")
    (workplace / "rcnn.yaml").write_text(TINY)
    words = ("fit", "--config", "rcnn.yaml", *data)
    assert complaint(*words, "--model", "RCNNClassification").startswith(
        "RCNNClassification starts from the network of stage one: give its checkpoint"
    )
    assert complaint(*words, "--model", "RCNNBoxRegression").startswith(
        "RCNNBoxRegression: starts from the SVMs of stage two"
    )
    assert complaint(*words, "--model", "RCNN").startswith("RCNN is trained in stages: fit --model RCNNFineTuning")
    without = ("fit", "--config", "rcnn.yaml", "--data.train", shards / "train", "--run_dir", "run")
    assert "lightning-rcnn propose" in complaint(*without, "--model", "RCNNFineTuning")
