"""R-CNN from the command line: three stages, each from the checkpoint of the one before, and what comes of it."""

import numpy as np
import pytest
import torch
from rich.console import Console

from lightning_rcnn.checkpoints.header import read_header
from lightning_rcnn.data.cache import ShardCache
from lightning_rcnn.data.decoded_image import decode_image
from lightning_rcnn.data.fetch import FetchPolicy
from lightning_rcnn.data.pack.proposal_shards import write_proposals
from lightning_rcnn.data.shards import read_shards
from lightning_rcnn.detectors.rcnn.rcnn import RCNN

TINY = """
model:
  class_path: {}
  init_args:
    backbone:
      class_path: PlainBackbone
      init_args: {{name: alexnet, norm: batch_norm}}
    proposals: {{limit: 12}}
    regions:
      size: 63
      context: 4
      head: {{width: 16}}
    preprocessing: {{min_size: 64, max_size: 96}}
    optimizer:
      class_path: SGD
      init_args: {{lr: 1e-3, momentum: 0.9, weight_decay: 1e-4}}
    schedule:
      class_path: ConstantSchedule
      init_args: {{warmup_steps: 0}}
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


def grid(sample):
    """Boxes of two sizes all over an image, for want of a search."""
    _, height, width = decode_image(sample.image, apply_exif=False).shape
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
def words(workplace, proposed):
    """The words to `fit` a stage."""

    def make(name, train=None):
        (workplace / "rcnn.yaml").write_text(TINY.format(name))
        data = ("--data.train", train or proposed / "train", "--data.val", proposed / "val")
        return "fit", "--config", "rcnn.yaml", *data, "--run_dir", name

    return make


def last(name):
    return f"{name}/checkpoints/last.ckpt"


@pytest.mark.end_to_end
def test_from_the_network_to_a_whole_detector(words, run, workplace, proposed):
    def stage(name, *more):
        return run(*words(name), *more)

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

    third = ("RCNNBoxRegression", "--model.weights", last("RCNNClassification"), "--model.ridge.paired_iou", "0.2")
    assert stage(*third).status == 0
    regressed = torch.load(last("RCNNBoxRegression"), weights_only=True)["state_dict"]
    changed = {name for name in regressed if not regressed[name].equal(classified[name])}
    assert changed == {"box_regressors.weight", "box_regressors.bias"}

    # What comes out is an R-CNN, for Python and the other commands.
    header = read_header(last("RCNNBoxRegression"))
    assert header.class_path == "lightning_rcnn.detectors.rcnn.rcnn.RCNN"
    assert isinstance(RCNN.load_from_checkpoint(last("RCNNBoxRegression")), RCNN)
    quiet = ("--trainer.accelerator", "cpu", "--trainer.enable_progress_bar", "false", "--data.num_workers", "0")
    assert run("validate", "--ckpt_path", last("RCNNBoxRegression"), "--data.val", proposed / "val", *quiet).status == 0

    # A finished pass is not repeated.
    assert stage(*third, "--ckpt_path", "last").status == 0


@pytest.mark.end_to_end
def test_a_stage_without_the_one_before(words, error_line, shards):
    assert error_line(*words("RCNNClassification")).startswith(
        "RCNNClassification starts from the network of stage one: give its checkpoint"
    )
    assert error_line(*words("RCNNBoxRegression")).startswith("RCNNBoxRegression: starts from the SVMs of stage two")
    assert error_line(*words("lightning_rcnn.RCNN")).startswith("RCNN is trained in stages: fit --model RCNNFineTuning")
    assert "lightning-rcnn propose" in error_line(*words("RCNNFineTuning", train=shards / "train"))
