"""Exact resume through real fits: whatever the checkpoint, the batches that follow are those of an undisturbed run."""

import logging
import os
import signal
from collections import Counter
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
from lightning import Callback, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint

from lightning_rcnn.data.datamodule import DetectionDataModule
from lightning_rcnn.data.loading import LoadingSettings
from lightning_rcnn.data.resume import PlanIdentity
from lightning_rcnn.data.sampling import RepeatFactor, Sampling
from lightning_rcnn.data.transforms import Colors, HorizontalFlip, Mosaic

IDENTITY = PlanIdentity(
    data="a", padding="b", seed=1, window=100, balance="", global_batch_size=8, sampling="Sampling()", counts="c"
)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({}, ""),
        ({"data": "c"}, "training shards"),
        ({"padding": "c"}, "resize rule or the padded shapes"),
        ({"seed": 2}, "data.seed was 2 and is 1"),
        ({"window": 7}, "data.loading.shuffle_window was 7 and is 100"),
        ({"balance": "d"}, "data.loading.balance_window changed"),
        ({"global_batch_size": 16}, "the global batch had 16 images and has 8"),
        ({"sampling": "RepeatFactor()"}, "data.sampling was RepeatFactor() and is Sampling()"),
        ({"counts": "d"}, "the labels or the sources of the images changed"),
        ({"version": 0}, "another version"),
    ],
)
def test_what_stands_against_going_on_is_said(change: dict[str, Any], words: str):
    difference = IDENTITY.difference({**asdict(IDENTITY), "epoch": 1, "samples": 8, **change})
    assert words in difference
    assert bool(words) == bool(difference)


def test_a_checkpoint_of_a_version_without_balance_goes_on_where_none_is_asked_for():
    saved = {key: value for key, value in asdict(IDENTITY).items() if key != "balance"}
    assert IDENTITY.difference(saved) == ""
    assert "balance_window" in replace(IDENTITY, balance="d").difference(saved)


class SaveEverywhere(Callback):
    """Writes a checkpoint at each moment at which one may be written, and notes how many batches came before it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.saved: list[tuple[Path, int]] = []

    def save(self, trainer: Trainer, moment: str) -> None:
        path = self.folder / f"{len(self.saved):03d}-{moment}.ckpt"
        trainer.save_checkpoint(path)
        self.saved.append((path, len(trainer.lightning_module.seen)))

    def on_train_batch_end(self, trainer: Trainer, *args: Any) -> None:
        batches = trainer.fit_loop.epoch_loop.batch_progress
        if batches.current.ready % trainer.accumulate_grad_batches == 0 or batches.is_last_batch:
            self.save(trainer, "batch")

    def on_validation_end(self, trainer: Trainer, *args: Any) -> None:
        self.save(trainer, "validation")

    def on_train_epoch_end(self, trainer: Trainer, *args: Any) -> None:
        self.save(trainer, "epoch")


def our_messages(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name.startswith("lightning_rcnn")]


def data(folder: Path, **options: Any) -> DetectionDataModule:
    transforms = [HorizontalFlip(), Mosaic(p=0.5), Colors(brightness=0.3)]
    defaults = {"train": str(folder), "batch_size": 8, "num_workers": 0, "train_transforms": transforms}
    return DetectionDataModule(**defaults | options)


@pytest.mark.parametrize(
    ("options", "asks_for_steps"),
    [
        ({"max_epochs": 2}, False),
        pytest.param({"max_epochs": 2, "val_check_interval": 2}, True, marks=pytest.mark.end_to_end),
        ({"max_epochs": 2, "accumulate_grad_batches": 2}, True),
        pytest.param({"max_epochs": 3, "limit_train_batches": 3}, True, marks=pytest.mark.end_to_end),
        pytest.param({"max_steps": 12}, True, marks=pytest.mark.end_to_end),
        ({"max_steps": 8, "val_check_interval": 2, "limit_train_batches": 3}, False),
        ({"max_steps": 6, "accumulate_grad_batches": 2, "limit_val_batches": 0}, True),
    ],
    ids=str,
)
def test_every_checkpoint_leads_on_exactly(uneven_set, tmp_path, recording_module, trainer, options, asks_for_steps):
    saver, whole = SaveEverywhere(tmp_path), recording_module(asks_for_steps)
    val = str(uneven_set / "shard-000003.tar")
    trainer(callbacks=[saver], **options).fit(whole, datamodule=data(uneven_set, val=val))
    assert len(set(map(tuple, whole.seen))) == len(whole.seen)
    for path, num_before in saver.saved:
        resumed = recording_module(asks_for_steps)
        trainer(**options).fit(resumed, datamodule=data(uneven_set, val=val), ckpt_path=path)
        assert resumed.seen == whole.seen[num_before:], path.name
        assert resumed.weight == whole.weight, path.name


@pytest.mark.parametrize("workers", [{"num_workers": 2, "loading": LoadingSettings(multiprocessing_context="fork")}])
def test_workers_do_not_disturb_the_resume(uneven_set, tmp_path, recording_module, trainer, workers):
    saver, whole = SaveEverywhere(tmp_path), recording_module()
    trainer(callbacks=[saver], max_epochs=2).fit(whole, datamodule=data(uneven_set, **workers))
    for path, num_before in saver.saved[::3]:
        resumed = recording_module()
        trainer(max_epochs=2).fit(resumed, datamodule=data(uneven_set, **workers), ckpt_path=path)
        assert resumed.seen == whole.seen[num_before:], path.name
        assert resumed.weight == whole.weight, path.name


def test_an_epoch_with_repeated_images_resumes_exactly(uneven_set, tmp_path, recording_module, trainer):
    saver, whole, sampling = SaveEverywhere(tmp_path), recording_module(), RepeatFactor(1.5, empty_share=0.4)
    trainer(callbacks=[saver], max_epochs=2).fit(whole, datamodule=data(uneven_set, sampling=sampling))
    counts = Counter(image for batch in whole.seen for image in batch)
    assert max(counts.values()) > 2
    for path, num_before in saver.saved[1::3]:
        resumed = recording_module()
        trainer(max_epochs=2).fit(resumed, datamodule=data(uneven_set, sampling=sampling), ckpt_path=path)
        assert resumed.seen == whole.seen[num_before:], path.name
        assert resumed.weight == whole.weight, path.name


@pytest.mark.slow
def test_spawned_workers_do_not_disturb_the_resume(uneven_set, tmp_path, recording_module, trainer):
    workers = {"num_workers": 2, "loading": LoadingSettings(multiprocessing_context="spawn")}
    test_workers_do_not_disturb_the_resume(uneven_set, tmp_path, recording_module, trainer, workers)


@pytest.mark.parametrize(
    ("change", "words", "stop"),
    [
        (
            {"batch_size": 4},
            "the global batch had 8 images and has 4",
            {"max_epochs": 4},
        ),  # 10 batches, more than were done
        (
            {"batch_size": 20},
            "the global batch had 8 images and has 20",
            {"max_epochs": 4},
        ),  # 2 batches, fewer than were done
        (
            {"batch_size": 10},
            "the global batch had 8 images and has 10",
            {"max_epochs": 4},
        ),  # 4 batches, as many as were done
        ({"batch_size": 10}, "the global batch had 8 images and has 10", {"max_steps": 18}),
        ({"seed": 7}, "data.seed", {"max_epochs": 4}),
        (
            {"sampling": Sampling(epoch_size=60)},
            "data.sampling was Sampling() and is Sampling(epoch",
            {"max_epochs": 4},
        ),
        ({"shapes": [[64, 64]]}, "padded shapes", {"max_steps": 20}),
    ],
)
@pytest.mark.parametrize("moment", ["batch", "validation"])
@pytest.mark.end_to_end
def test_other_batches_begin_with_the_next_epoch(
    uneven_set, tmp_path, recording_module, trainer, caplog, change, words, stop, moment
):
    saver, val = SaveEverywhere(tmp_path), str(uneven_set / "shard-000003.tar")
    trainer(callbacks=[saver], max_epochs=2, val_check_interval=2).fit(
        recording_module(), datamodule=data(uneven_set, val=val)
    )
    path = next(path for path, num_before in saver.saved if num_before == 5 + 4 and moment in path.name)
    resumed, undisturbed = recording_module(), recording_module()
    resumed_saver = SaveEverywhere(tmp_path)
    with caplog.at_level(logging.WARNING):
        trainer(**stop, callbacks=[resumed_saver]).fit(
            resumed, datamodule=data(uneven_set, val=val, **change), ckpt_path=path
        )
    (message,) = our_messages(caplog)
    assert "from within epoch 1" in message
    assert words in message
    trainer(max_epochs=4).fit(undisturbed, datamodule=data(uneven_set, **change))
    num_batches = len(undisturbed.seen) // 4
    assert resumed.seen[: 2 * num_batches] == undisturbed.seen[2 * num_batches :]
    # and a checkpoint of the resumed run leads on exactly, with nothing to say against it
    path, num_before = resumed_saver.saved[1]
    again = recording_module()
    trainer(**stop).fit(again, datamodule=data(uneven_set, val=val, **change), ckpt_path=path)
    assert again.seen[:num_batches] == resumed.seen[num_before:][:num_batches]
    assert len(our_messages(caplog)) == 1


@pytest.mark.parametrize(
    ("change", "first"),
    [({}, 7), ({"batch_size": 4}, 20)],  # batch 2 of epoch 1; with others, epoch 2
    ids=["the same batches", "other batches"],
)
def test_a_larger_limit_leads_on_from_within_an_epoch(uneven_set, tmp_path, recording_module, trainer, change, first):
    """From Python, with Lightning's own checkpoint of the end of a training."""
    saver = ModelCheckpoint(tmp_path, save_last=True)
    trainer(max_steps=7, callbacks=[saver], enable_checkpointing=True).fit(
        recording_module(), datamodule=data(uneven_set)
    )
    resumed, undisturbed = recording_module(), recording_module()
    trainer(max_epochs=4).fit(resumed, datamodule=data(uneven_set, **change), ckpt_path=tmp_path / "last.ckpt")
    trainer(max_epochs=4).fit(undisturbed, datamodule=data(uneven_set, **change))
    assert resumed.seen == undisturbed.seen[first:]


def test_another_batch_size_between_epochs_is_nothing_to_speak_of(
    uneven_set, tmp_path, recording_module, trainer, caplog
):
    saver = SaveEverywhere(tmp_path)
    trainer(callbacks=[saver], max_epochs=1).fit(recording_module(), datamodule=data(uneven_set))
    resumed, undisturbed = recording_module(), recording_module()
    trainer(max_epochs=2).fit(resumed, datamodule=data(uneven_set, batch_size=4), ckpt_path=saver.saved[-1][0])
    trainer(max_epochs=2).fit(undisturbed, datamodule=data(uneven_set, batch_size=4))
    assert resumed.seen == undisturbed.seen[10:]
    assert not our_messages(caplog)


@pytest.mark.end_to_end
def test_kill_9_mid_epoch(uneven_set, tmp_path, recording_module, trainer, fresh_process):
    """The same fit, started again after its process was killed, resumes from the last checkpoint undisturbed.

    An epoch has images of the rarer class several times, and others not at all.
    """
    sampling = RepeatFactor(1.5, empty_share=0.4, epoch_size=43)

    def fit(module: Any, **start: Any) -> Any:
        saver = ModelCheckpoint(tmp_path, every_n_train_steps=2, save_last=True)
        runner = trainer(max_epochs=2, callbacks=[saver], enable_checkpointing=True)
        runner.fit(module, datamodule=data(uneven_set, num_workers=1, sampling=sampling), **start)
        return module

    class Killed(recording_module):
        def on_train_batch_end(self, *args: Any) -> None:
            if len(self.seen) == 7:  # the second batch of the second epoch; the last checkpoint has six
                os.kill(os.getpid(), signal.SIGKILL)

    process = fresh_process(fit, Killed())
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    resumed = fit(recording_module(), ckpt_path=tmp_path / "last.ckpt")
    undisturbed = fit(recording_module())
    assert resumed.seen == undisturbed.seen[6:]
    assert resumed.weight == undisturbed.weight
