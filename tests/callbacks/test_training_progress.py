"""What of a training is read from the device, for which the host has to wait."""

from types import SimpleNamespace

import pytest
import torch
from lightning.pytorch import Callback, Trainer

from lightning_rcnn.backbones.fpn import ResNetFPN
from lightning_rcnn.callbacks import training_progress
from lightning_rcnn.callbacks.checkpoints import LastCheckpoint
from lightning_rcnn.callbacks.ema import EMA
from lightning_rcnn.callbacks.preemption import Preemption
from lightning_rcnn.callbacks.shared_buffers import SharedBuffers
from lightning_rcnn.callbacks.throughput import Throughput
from lightning_rcnn.callbacks.training_progress import TrainingProgress
from lightning_rcnn.data.datamodule import DetectionDataModule
from lightning_rcnn.data.pack.shapes import CLASS_NAMES, shapes_source
from lightning_rcnn.data.pack.write import write_shards
from lightning_rcnn.detectors.faster_rcnn import FasterRCNN
from lightning_rcnn.detectors.schedules import ConstantSchedule
from lightning_rcnn.parts import part

STEPS = 6


@pytest.fixture
def clock(monkeypatch):
    now = SimpleNamespace(seconds=100.0)
    monkeypatch.setattr(training_progress.time, "monotonic", lambda: now.seconds)
    return now


class Readings(Callback):
    """Notes in which step a number of a tensor becomes one of Python."""

    def __init__(self, monkeypatch):
        self.steps, self._step = [], None
        for name in ("item", "tolist", "__bool__", "__int__", "__float__"):
            original = getattr(torch.Tensor, name)
            monkeypatch.setattr(torch.Tensor, name, lambda tensor, o=original: self._note() or o(tensor))

    def _note(self):
        self.steps.append(self._step)

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        self._step = batch_idx

    def on_train_end(self, trainer, pl_module):
        self._step = None


@pytest.fixture
def readings(tmp_path, monkeypatch):
    """Trains with what every training has; the readings."""
    write_shards(shapes_source(2 * STEPS, seed=0), tmp_path / "shards", name="shapes", workers=1)
    found = Readings(monkeypatch)

    def run(*callbacks):
        detector = FasterRCNN(
            CLASS_NAMES, backbone=ResNetFPN("resnet18", channels=16),
            rpn={"pre_nms_top_n": (50, 50), "post_nms_top_n": (30, 30)},
            box={"head": {"width": 32}, "samples_per_image": 16}, preprocessing={"min_size": 64, "max_size": 96},
            schedule=part(ConstantSchedule, warmup_steps=0),
        )  # fmt: skip
        # Without NonFiniteGuard: what it reads are copies that have reached the host batches before.
        usual = [Throughput(), Preemption(), LastCheckpoint(), SharedBuffers(), EMA()]
        Trainer(
            accelerator="cpu", devices=1, max_epochs=1, limit_val_batches=0, logger=False, enable_model_summary=False,
            enable_progress_bar=bool(callbacks), default_root_dir=tmp_path, gradient_clip_val=1.0,
            callbacks=[*usual, *callbacks, found],
        ).fit(detector, DetectionDataModule(train=str(tmp_path / "shards"), batch_size=2, num_workers=0))  # fmt: skip
        return [step for step in found.steps if step is not None and 1 <= step < STEPS - 1]

    return run


@pytest.mark.end_to_end
def test_a_step_reads_nothing_but_the_loss_once_a_second(readings, clock):
    assert readings(TrainingProgress()) == []
    clock.seconds += 1
    assert len(readings(TrainingProgress())) <= 1


def test_the_bar_shows_the_loss_that_it_has_read(clock):
    progress = TrainingProgress()
    trainer = SimpleNamespace(callback_metrics={}, progress_bar_metrics={}, loggers=[])
    shown = []
    for step in range(10):
        trainer.callback_metrics["train/loss"] = torch.tensor(float(step))
        shown.append(progress.get_metrics(trainer, None)["train/loss"])
        clock.seconds += 0.25
    assert shown == [0, 0, 0, 0, 4, 4, 4, 4, 8, 8]
