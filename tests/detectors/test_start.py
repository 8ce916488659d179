"""Errors that stop a training from Python before its first step."""

import pytest
import torch
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.callbacks import Checkpoint, EarlyStopping, ModelCheckpoint
from lightning.pytorch.loggers import WandbLogger
from lightning.pytorch.strategies import SingleDeviceStrategy
from torch.optim.lr_scheduler import ReduceLROnPlateau

from lightning_rcnn.callbacks.checkpoints import BestCheckpoint
from lightning_rcnn.data.datamodule import DetectionDataModule
from lightning_rcnn.data.pack.shapes import CLASS_NAMES, shapes_source
from lightning_rcnn.data.pack.write import write_shards
from lightning_rcnn.detectors.schedules import OneCycleSchedule, StepSchedule
from lightning_rcnn.errors import InputError
from lightning_rcnn.parts import part


class FirstStep(Exception):  # noqa: N818
    """Raised when a training has reached its start."""


class StopAtFirstStep(Callback):
    def on_train_batch_end(self, trainer, *_):
        assert {f"train/{name}" for name in trainer.lightning_module.loss_names} < set(trainer.callback_metrics)
        raise FirstStep


class LogsItself(Callback):
    def on_train_batch_start(self, trainer, module, *_):
        module.log("mine", 1.0)


@pytest.fixture(scope="module")
def shards(tmp_path_factory):
    folder = tmp_path_factory.mktemp("start") / "shards"
    write_shards(shapes_source(6, seed=0), folder, name="shapes", workers=1)
    return str(folder)


@pytest.fixture
def start(make_detector, shards, tmp_path):
    def fit(callbacks=(), hyperparameters=None, data=None, **options):
        detector = make_detector(
            **{"class_names": CLASS_NAMES, "schedule": part(StepSchedule, warmup_steps=0), **(hyperparameters or {})}
        )
        defaults = {"logger": False, "enable_checkpointing": any(isinstance(c, Checkpoint) for c in callbacks)}
        trainer = Trainer(
            accelerator="cpu",
            devices=1,
            max_epochs=2,
            num_sanity_val_steps=0,
            enable_progress_bar=False,
            enable_model_summary=False,
            default_root_dir=tmp_path,
            callbacks=[*callbacks],
            **{**defaults, **options},
        )
        trainer.fit(detector, DetectionDataModule(**{"train": shards, "val": shards, "num_workers": 0, **(data or {})}))

    return fit


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"hyperparameters": {"class_names": CLASS_NAMES[::-1]}}, "model.class_names: class 1 is .* but .* in "),
        (
            {"hyperparameters": {"class_names": CLASS_NAMES[1:]}},
            "model.class_names has 3 entries, but .* has 4",
        ),
        ({"hyperparameters": {"category_ids": [1, 2, 4, 3]}}, "model.category_ids: class 3 has the id 4 .* but 3 in "),
        (
            {"hyperparameters": {"optimizer": part(torch.optim.SGD, lr=-1.0)}},
            "model.optimizer: Invalid learning rate: -1.0",
        ),
        (
            {"hyperparameters": {"schedule": part(StepSchedule, warmup_steps=0, milestones=(0.9, 0.1))}},
            "model.schedule: milestones .*: give fractions of the training, 0 to 1, asc",
        ),
        (
            {"hyperparameters": {"schedule": part(StepSchedule, warmup_steps=7)}},
            "model.schedule: warmup_steps 7: the training ends after 6 steps",
        ),
        ({"callbacks": [EarlyStopping("val_loss")]}, "EarlyStopping.monitor: nothing logs 'val_loss'"),
        ({"callbacks": [EarlyStopping("train/los")]}, "nothing logs 'train/los'; did you mean train/loss?"),
        ({"callbacks": [EarlyStopping("val/bbox/AP")]}, "more is better, but its mode is min; give it the mode max"),
        ({"callbacks": [EarlyStopping("val/loss", mode="max")]}, "of val/loss less is better, but its mode is max"),
        ({"callbacks": [EarlyStopping("val/bbox/AP", mode="max")], "data": {"val": None}}, "nothing validates: give"),
        ({"callbacks": [ModelCheckpoint(monitor="val/segm/AP", mode="max")]}, "ModelCheckpoint.monitor: nothing logs"),
        ({"callbacks": [BestCheckpoint(monitor="val/bbox/ap")]}, "best_checkpoint.monitor: nothing logs 'val/bbox/ap'"),
        (
            {"hyperparameters": {"schedule": part(ReduceLROnPlateau)}, "data": {"val": None}},
            "model.schedule: ReduceLROnPlateau follows val/loss, but nothing validates: give --data.val",
        ),
        ({"val_check_interval": 4}, "trainer.val_check_interval 4: an epoch has 3 batches"),
        ({"val_check_interval": 3, "limit_train_batches": 2}, "trainer.val_check_interval 3: an epoch has 2 batches"),
    ],
)
def test_an_invalid_setting_is_one_line(start, options, message):
    with pytest.raises(InputError, match=message) as caught:
        start(**options)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("mode", "message"), [("", "WANDB_MODE is empty"), ("onlin", "'onlin' is unknown: .* mean online")]
)
def test_a_mode_that_wandb_does_not_know(start, monkeypatch, tmp_path, mode, message):
    logger = WandbLogger(save_dir=tmp_path)
    monkeypatch.setenv("WANDB_MODE", mode)
    with pytest.raises(InputError, match=message):
        start(logger=logger)


@pytest.mark.parametrize(
    "options",
    [
        {"callbacks": [EarlyStopping("val/voc/AP50", mode="max"), BestCheckpoint("val/proposals/AR@100")]},
        {"callbacks": [ModelCheckpoint(monitor="train/loss_rpn_box"), ModelCheckpoint(monitor="step", mode="max")]},
        {"callbacks": [EarlyStopping("val/loss"), ModelCheckpoint(monitor="val/loss_rpn_box")]},
        {"callbacks": [EarlyStopping("mine"), LogsItself()]},  # who knows what others log
        {"val_check_interval": 4, "check_val_every_n_epoch": None},
        {"hyperparameters": {"schedule": part(StepSchedule, warmup_steps=6)}},
        {"hyperparameters": {"schedule": part(StepSchedule)}},
        {"hyperparameters": {"schedule": part(OneCycleSchedule)}},
    ],
)
def test_valid_settings_start(start, options):
    callbacks = [*options.pop("callbacks", []), StopAtFirstStep()]
    with pytest.raises(FirstStep):
        start(callbacks=callbacks, **options)


def test_ranks_of_different_precision_are_refused(start, monkeypatch):
    monkeypatch.setattr(
        SingleDeviceStrategy, "broadcast", lambda _, own, src=0: "bf16-true" if own == "32-true" else own
    )
    with pytest.raises(InputError, match=r"rank 0 chose bf16-true, .* set --trainer\.precision for all"):
        start()
