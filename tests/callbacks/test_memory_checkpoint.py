"""The checkpoint in memory: when it is written, and when a run resumes from it instead of `last.ckpt`."""

import os
import warnings
from types import SimpleNamespace

import pytest
import torch
from lightning.pytorch import LightningModule, Trainer
from torch.utils.data import DataLoader

from lightning_rcnn.callbacks import checkpoint_io
from lightning_rcnn.callbacks.background_checkpoints import BackgroundCheckpointIO
from lightning_rcnn.callbacks.checkpoint_io import AtomicCheckpointIO
from lightning_rcnn.callbacks.checkpoints import LastCheckpoint
from lightning_rcnn.callbacks.memory_checkpoint import given_memory_checkpoint
from lightning_rcnn.callbacks.sharded_strategy import ShardedStrategy
from lightning_rcnn.checkpoints.in_memory import FOLDER_VARIABLE, NAME, STEPS_VARIABLE, memory_checkpoint
from lightning_rcnn.cli.run_paths import checkpoint_of, refuse_to_overwrite
from lightning_rcnn.errors import InputError
from lightning_rcnn.files import atomic_save


class Module(LightningModule):
    """Notes the step in the memory when each step begins."""

    def __init__(self, file):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(()))
        self.file, self.seen = file, []

    def training_step(self, batch, batch_idx):
        self.seen.append(torch.load(self.file, weights_only=True)["global_step"] if self.file.exists() else None)
        return self.weight

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


@pytest.fixture
def memory(tmp_path, monkeypatch):
    folder = tmp_path / "memory"
    folder.mkdir()
    monkeypatch.setenv(FOLDER_VARIABLE, str(folder))
    monkeypatch.setenv(STEPS_VARIABLE, "2")
    return folder / NAME


@pytest.mark.parametrize(("accumulated", "seen"), [(1, [None, 1, 2, 2, 4, 4]), (2, [None, None, 1, 1, 2, 2])])
def test_it_is_written_after_the_first_step_and_every_few(memory, tmp_path, accumulated, seen):
    callback, module = given_memory_checkpoint(), Module(memory)
    trainer = Trainer(
        default_root_dir=tmp_path / "run",
        max_epochs=1,
        accelerator="cpu",
        callbacks=[callback],
        plugins=[AtomicCheckpointIO()],
        accumulate_grad_batches=accumulated,
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(module, DataLoader(torch.ones(6)))
    assert module.seen == seen
    counts = torch.load(memory, weights_only=True)["loops"]["fit_loop"]["epoch_loop.batch_progress"]["total"]
    # As Lightning knows a checkpoint that was written at the end of a batch; it miscounts after another one.
    assert counts["ready"] == counts["started"] == counts["processed"] == counts["completed"] + 1


@pytest.mark.parametrize("kind", [AtomicCheckpointIO, BackgroundCheckpointIO])
def test_a_training_continues_without_room_for_it_and_with_one_warning(memory, tmp_path, monkeypatch, kind):
    """A full disk, on the other hand, ends it."""
    full = [memory]

    def write(content, path):
        if path in full:
            raise OSError(28, "No space left on device")
        atomic_save(content, path)

    def fit():
        trainer = Trainer(
            default_root_dir=tmp_path / "run",
            max_steps=6,
            accelerator="cpu",
            callbacks=[given_memory_checkpoint(), LastCheckpoint(every_n_steps=3)],
            plugins=[kind()],
            logger=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        )
        module = Module(memory)
        module.training_step = lambda *_: module.weight
        trainer.fit(module, DataLoader(torch.ones(6)))

    monkeypatch.setattr(checkpoint_io, "atomic_save", write)
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("default")
        fit()
    assert len([warning for warning in warned if "memory.ckpt: cannot be written" in str(warning.message)]) == 1
    last = tmp_path / "run" / "checkpoints" / "last.ckpt"
    assert torch.load(last, weights_only=True)["global_step"] == 6
    full.append(last)
    with pytest.raises(InputError, match=r"last.ckpt: cannot be written"):
        fit()


def test_loggers_hear_of_nothing(memory):
    told = []
    logger = SimpleNamespace(after_save_checkpoint=told.append)
    given_memory_checkpoint()._tell_loggers(SimpleNamespace(is_global_zero=True, loggers=[logger]))
    assert told == []


def test_without_a_launcher_there_is_none(tmp_path):
    assert FOLDER_VARIABLE not in os.environ
    assert given_memory_checkpoint() is None
    assert memory_checkpoint() is None


@pytest.fixture
def run_dir(tmp_path):
    """A run folder with `last.ckpt` of step 5."""
    atomic_save({"epoch": 0, "global_step": 5}, tmp_path / "run" / "checkpoints" / "last.ckpt")
    return tmp_path / "run"


def test_the_newer_one_counts(memory, run_dir):
    last = run_dir / "checkpoints" / "last.ckpt"
    assert checkpoint_of(run_dir, "last", "fit") == last
    for step, expected in ((4, last), (5, last), (6, memory)):
        atomic_save({"epoch": 0, "global_step": step}, memory)
        assert checkpoint_of(run_dir, "last", "fit") == expected
        assert checkpoint_of(run_dir, None, "fit") == expected  # ranks that start again know no other command
        assert checkpoint_of(run_dir, "last", "validate") == last
    os.utime(last, ns=(0, memory.stat().st_mtime_ns + 10**12))  # a file server whose clock is ahead
    assert checkpoint_of(run_dir, "last", "fit") == memory
    last.unlink()
    assert checkpoint_of(run_dir, "last", "fit") == memory


def test_the_run_may_resume_from_memory_and_from_no_other_folder(memory, run_dir, tmp_path):
    atomic_save({"epoch": 0, "global_step": 6}, memory)
    refuse_to_overwrite(run_dir, memory)
    with pytest.raises(InputError, match="holds the checkpoints of a run"):
        refuse_to_overwrite(run_dir, tmp_path / "others.ckpt")


def test_a_node_that_would_have_parts_of_a_checkpoint_only_is_refused(memory):
    """The strategy is the real one; of the trainer it is all that is looked at."""
    trainer = SimpleNamespace(num_nodes=2, strategy=ShardedStrategy(split_checkpoints=True))
    with pytest.raises(InputError, match="split_checkpoints has to be false"):
        given_memory_checkpoint().setup(trainer, None, "fit")


def test_ranks_compare_the_steps_of_their_copies(memory, monkeypatch):
    atomic_save({"epoch": 0, "global_step": 6}, memory)
    seen = []
    strategy = SimpleNamespace(broadcast=lambda text: seen.append(text) or text, checkpoint_io=None)
    LastCheckpoint().setup(SimpleNamespace(strategy=strategy, ckpt_path=str(memory)), None, "fit")
    assert seen == ["memory (step 6)"]
