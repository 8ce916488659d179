"""Checkpoints that a thread writes: what they hold, who waits for them, and what becomes of errors and kills."""

import os
import pickle
import signal
import threading
import time
from functools import partial

import pytest
import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.loggers.logger import DummyLogger
from torch.utils.data import DataLoader

from lightning_rcnn import stop_signals
from lightning_rcnn.callbacks import checkpoint_io
from lightning_rcnn.callbacks.background_checkpoints import BackgroundCheckpointIO
from lightning_rcnn.callbacks.checkpoints import LastCheckpoint
from lightning_rcnn.callbacks.preemption import Preemption
from lightning_rcnn.errors import InputError
from lightning_rcnn.files import atomic_save


class Counter(LightningModule):
    """Its weight is the number of its steps; it calls `in_step(step)`."""

    def __init__(self, in_step=lambda step: None):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(3))
        self.in_step = in_step

    def training_step(self, batch, batch_idx):
        self.in_step(self.global_step)
        return -self.weight.sum()

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=1.0)


def fit(folder, module, writer, steps=6, callbacks=(), every=1, logger=False):
    trainer = Trainer(
        default_root_dir=folder,
        max_steps=steps,
        accelerator="cpu",
        callbacks=[LastCheckpoint(every_n_steps=every), *callbacks],
        plugins=[writer],
        logger=logger,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(module, DataLoader(torch.ones(20)))
    return trainer


@pytest.fixture
def disk(monkeypatch):
    """Writes when it may, and notes the steps in the files and whether the main thread wrote them."""

    class Disk:
        may_write, steps, threads = threading.Event(), [], set()
        fails_at = None

        def write(self, content, path):
            assert self.may_write.wait(30)
            step = content["global_step"]
            if step == self.fails_at:
                raise OSError(28, "No space left on device")
            assert content["state_dict"]["weight"].tolist() == [step] * 3
            self.steps.append(step)
            self.threads.add(threading.current_thread() is threading.main_thread())
            atomic_save(content, path)

    disk = Disk()
    monkeypatch.setattr(checkpoint_io, "atomic_save", disk.write)
    return disk


def last(folder):
    return torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)


def test_steps_go_on_while_a_checkpoint_is_written_and_it_holds_what_was(disk, tmp_path):
    """The disk is stuck until step 4 runs; the two checkpoints before it have the weights of their own steps."""

    def in_step(step):
        if step == 5:
            assert disk.steps == []
            disk.may_write.set()

    fit(tmp_path, Counter(in_step), BackgroundCheckpointIO(), every=2, steps=6)
    assert disk.steps == [2, 4, 6, 6]  # and at the end of the epoch
    assert disk.threads == {False}
    assert last(tmp_path)["global_step"] == 6


def test_more_than_two_checkpoints_wait_for_the_disk(disk, tmp_path):
    threading.Timer(1.5, disk.may_write.set).start()
    start, reached = time.monotonic(), {}
    fit(tmp_path, Counter(lambda step: reached.setdefault(step, time.monotonic() - start)), BackgroundCheckpointIO())
    assert reached[2] < 1.4
    assert reached[3] > 1.4
    assert disk.steps == [1, 2, 3, 4, 5, 6, 6]


def test_an_error_of_the_thread_ends_the_training_in_one_line(disk, tmp_path):
    disk.may_write.set()
    disk.fails_at = 3
    reached = []

    def in_step(step):
        reached.append(step)
        time.sleep(0.2 * (step > 2))  # so that the thread has failed

    with pytest.raises(InputError, match=r"last.ckpt: cannot be written \(No space left on device\); the previous"):
        fit(tmp_path, Counter(in_step), BackgroundCheckpointIO(), steps=20)
    assert max(reached) < 6
    assert disk.steps[:2] == [1, 2]


def test_an_error_of_the_last_checkpoint_is_not_lost(disk, tmp_path):
    disk.may_write.set()
    disk.fails_at = 6
    with pytest.raises(InputError, match="No space left on device"):
        fit(tmp_path, Counter(), BackgroundCheckpointIO(), every=6)


def test_a_preempted_training_waits_for_its_checkpoint(disk, tmp_path):
    def in_step(step):
        if step == 2:
            os.kill(os.getpid(), signal.SIGTERM)
            threading.Timer(0.5, disk.may_write.set).start()

    with pytest.raises(stop_signals.Preempted, match="saved after step 3"):
        fit(tmp_path, Counter(in_step), BackgroundCheckpointIO(), every=100, steps=20, callbacks=[Preemption()])
    assert last(tmp_path)["global_step"] == 3


@pytest.mark.end_to_end
def test_a_kill_in_the_middle_leaves_the_last_whole_checkpoint(tmp_path, fresh_process):
    class KillsItsWriter:
        def __reduce__(self):
            os.kill(os.getpid(), signal.SIGKILL)

    def run():
        def write(content, path):
            end = {"end": KillsItsWriter()} if content["global_step"] == 3 else {}
            atomic_save({"much": torch.ones(100_000), **content, **end}, path)

        checkpoint_io.atomic_save = write
        fit(tmp_path, Counter(lambda step: time.sleep(0.1)), BackgroundCheckpointIO(), steps=20)

    process = fresh_process(run)
    process.start()
    process.join(60)
    assert process.exitcode == -signal.SIGKILL
    assert last(tmp_path)["global_step"] == 2


def test_calls_wait_for_what_was_saved_before(disk, tmp_path):
    writer, calls = BackgroundCheckpointIO(), []
    writer.when_written(partial(calls.append, "nothing to write"))
    assert calls == ["nothing to write"]
    writer.save_checkpoint({"global_step": 0, "state_dict": {"weight": torch.zeros(3)}}, tmp_path / "a.ckpt")
    writer.when_written(partial(calls.append, "written"))
    writer.check()
    assert calls == ["nothing to write"]
    disk.may_write.set()
    writer.wait()
    assert calls[1:] == ["written"]
    assert (tmp_path / "a.ckpt").is_file()


def test_the_same_memory_serves_later_checkpoints(disk, tmp_path):
    disk.may_write.set()
    writer = BackgroundCheckpointIO()
    for step in range(5):
        content = {"global_step": step, "state_dict": {"weight": torch.full((3,), float(step))}, "betas": (0.9, [step])}
        writer.save_checkpoint(content, tmp_path / "a.ckpt")
        content["betas"][1].append("changed afterwards")
        memory = [copy._memory["state_dict", "weight"].data_ptr() for copy in writer._copies if copy._memory]
        assert len(memory) == len(set(memory)) == min(step + 1, 2)
        writer.wait()
        saved = torch.load(tmp_path / "a.ckpt", weights_only=True)
        assert (saved["state_dict"]["weight"].tolist(), saved["betas"]) == ([step] * 3, (0.9, [step]))


def test_tensors_with_similar_keys_have_memory_of_their_own(tmp_path):
    content = {"a/b": torch.zeros(2), "a": {"b": torch.ones(2)}, "n": {0: torch.zeros(2), "0": torch.ones(2)}}
    writer = BackgroundCheckpointIO()
    writer.save_checkpoint(content, tmp_path / "a.ckpt")
    writer.wait()
    saved = torch.load(tmp_path / "a.ckpt", weights_only=True)
    assert [saved["a/b"].sum(), saved["a"]["b"].sum(), saved["n"][0].sum(), saved["n"]["0"].sum()] == [0, 2, 0, 2]


def test_only_copies_that_are_waited_for_may_be_late(tmp_path, monkeypatch):
    """A tensor that is on no CUDA device has plain memory, for which nothing waits."""
    given, copy = [], torch.Tensor.copy_

    def note(memory, tensor, non_blocking=False):
        given.append(non_blocking)
        return copy(memory, tensor)

    monkeypatch.setattr(torch.Tensor, "copy_", note)
    BackgroundCheckpointIO().save_checkpoint({"weight": torch.zeros(2)}, tmp_path / "a.ckpt")
    assert given == [False]


def test_a_state_dict_keeps_the_versions_of_its_modules(tmp_path):
    """Batch norm reads an older state dict, which has no count of batches, only because of its version."""
    state_dict = torch.nn.BatchNorm1d(2).state_dict()
    writer = BackgroundCheckpointIO()
    writer.save_checkpoint({"state_dict": state_dict}, tmp_path / "a.ckpt")
    writer.wait()
    saved = torch.load(tmp_path / "a.ckpt", weights_only=True)["state_dict"]
    assert saved._metadata == state_dict._metadata != {}


class Told(DummyLogger):
    """Notes of which steps it is told."""

    def __init__(self):
        super().__init__()
        self.steps = []

    def after_save_checkpoint(self, checkpoint_callback):
        self.steps.append(checkpoint_callback.saved_step)


def test_loggers_hear_of_no_file_that_was_not_written(disk, tmp_path):
    disk.may_write.set()
    disk.fails_at, logger = 6, Told()
    with pytest.raises(InputError, match="No space left on device"):
        fit(tmp_path, Counter(), BackgroundCheckpointIO(), every=6, logger=logger)
    assert logger.steps == []


@pytest.mark.parametrize(("every", "failing"), [(1, 2), (2, 1)])
def test_why_a_training_ends_is_not_hidden_by_checkpoints_that_fail(monkeypatch, tmp_path, every, failing):
    """One or two checkpoints are not written yet when a step fails; each of them is warned of."""
    may_fail = threading.Event()

    def write(content, path):
        assert may_fail.wait(30)
        raise OSError(28, f"No space left for step {content['global_step']}")

    def in_step(step):
        if step == 2:
            may_fail.set()
            raise ValueError("the cause")

    monkeypatch.setattr(checkpoint_io, "atomic_save", write)
    with pytest.warns(UserWarning, match="No space left") as warned, pytest.raises(ValueError, match="the cause"):
        fit(tmp_path, Counter(in_step), BackgroundCheckpointIO(), every=every)
    assert sum("No space left for step" in str(warning.message) for warning in warned) == failing


def test_a_file_is_read_and_removed_when_it_is_written(disk, tmp_path):
    writer, path = BackgroundCheckpointIO(), tmp_path / "a.ckpt"
    content = {"global_step": 0, "state_dict": {"weight": torch.zeros(3)}}
    threading.Timer(0.2, disk.may_write.set).start()
    writer.save_checkpoint(content, path)
    assert writer.load_checkpoint(path)["global_step"] == 0
    disk.may_write.clear()
    threading.Timer(0.2, disk.may_write.set).start()
    writer.save_checkpoint(content, path)
    writer.remove_checkpoint(path)
    writer.wait()
    assert not path.exists()


def test_lightnings_checkpoints_are_as_many_as_asked_for(disk, tmp_path):
    threading.Timer(0.2, disk.may_write.set).start()
    kept = ModelCheckpoint(dirpath=tmp_path / "kept", every_n_train_steps=1, save_top_k=1)
    fit(tmp_path, Counter(), BackgroundCheckpointIO(), callbacks=[kept], every=100)
    assert [path.name for path in (tmp_path / "kept").iterdir()] == ["epoch=0-step=6.ckpt"]


def test_after_a_training_a_checkpoint_is_written_at_once_and_in_the_next_one_in_the_background(disk, tmp_path):
    disk.may_write.set()
    trainer = fit(tmp_path, Counter(), BackgroundCheckpointIO(), every=100)
    disk.threads.clear()
    trainer.save_checkpoint(tmp_path / "mine.ckpt")
    assert (tmp_path / "mine.ckpt").is_file()
    assert disk.threads == {True}
    disk.fails_at = 6
    with pytest.raises(InputError, match=r"mine.ckpt: cannot be written"):
        trainer.save_checkpoint(tmp_path / "mine.ckpt")
    disk.fails_at = None
    disk.threads.clear()
    trainer.fit_loop.epoch_loop.max_steps = 8
    trainer.fit(trainer.lightning_module, DataLoader(torch.ones(20)))
    assert disk.threads == {False}


def test_a_trainer_may_be_pickled_before_its_training():
    writer = pickle.loads(pickle.dumps(BackgroundCheckpointIO()))
    writer.wait()
