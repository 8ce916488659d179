import os
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from lightning_rcnn.cli import main
from lightning_rcnn.cli.commands.pack import pack_shapes

TINY = """
model:
  class_path: FasterRCNN
  init_args:
    preprocessing: {min_size: 64, max_size: 96}
    backbone:
      class_path: ResNetFPN
      init_args: {name: resnet18, channels: 16}
    rpn:
      pre_nms_top_n: [50, 50]
      post_nms_top_n: [20, 20]
    box:
      head: {width: 16}
    optimizer:
      class_path: AdamW
      init_args: {lr: 1e-4}
    schedule:
      class_path: ConstantSchedule
      init_args: {warmup_steps: 0}
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


class Outcome(NamedTuple):
    status: int
    out: str
    err: str


@pytest.fixture(scope="session")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two packed sets of generated scenes, `train` and `val`, of four classes."""
    folder = tmp_path_factory.mktemp("shards")
    pack_shapes(folder / "train", num=6, workers=1)
    pack_shapes(folder / "val", num=3, seed=1, workers=1)
    return folder


@pytest.fixture
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory, with a configuration `tiny.yaml` of a detector that trains in a second."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("WANDB_MODE", "offline")
    (tmp_path / "tiny.yaml").write_text(TINY)
    return tmp_path


@pytest.fixture
def run(workplace: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., Outcome]:
    """Runs `lightning-rcnn WORDS` in this process."""

    def run_command(*words: str | os.PathLike[str]) -> Outcome:
        capsys.readouterr()
        try:
            status = main([str(word) for word in words])
        except SystemExit as stop:
            status = int(stop.code or 0)
        return Outcome(status, *capsys.readouterr())

    return run_command


@pytest.fixture
def error_line(run: Callable[..., Outcome]) -> Callable[..., str]:
    """Runs a command that has to fail with one line, and gives that line."""

    def run_command(*words: str | os.PathLike[str]) -> str:
        outcome = run(*words)
        assert outcome.status == 1
        lines = [line for line in outcome.err.splitlines() if line.startswith("lightning-rcnn: error: ")]
        assert len(lines) == 1, outcome.err
        assert outcome.err.rstrip().endswith(lines[0])
        return lines[0].removeprefix("lightning-rcnn: error: ")

    return run_command
