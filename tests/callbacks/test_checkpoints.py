import os
import signal
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from lightning.pytorch import LightningModule, Trainer
from torch.utils.data import DataLoader

from lightning_rcnn.callbacks import checkpoints
from lightning_rcnn.callbacks.checkpoints import AtomicCheckpointIO, BestCheckpoint, LastCheckpoint
from lightning_rcnn.errors import InputError, PassingError
from lightning_rcnn.launchers import HEALING


class Counter(LightningModule):
    """Counts its steps in its only parameter; validation logs the next of the given scores."""

    def __init__(self, scores=()):
        super().__init__()
        self.count = torch.nn.Parameter(torch.zeros(()))
        self.scores = list(scores)

    def training_step(self, batch, batch_idx):
        return self.count * -1.0

    def validation_step(self, batch, batch_idx):
        pass

    def on_validation_epoch_end(self):
        self.log("score", self.scores.pop(0))

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=1.0)


def fit(
    folder: Path, model: Counter, callbacks, *, epochs: int, batches: int = 5, ckpt_path=None, **options
) -> Trainer:
    trainer = Trainer(
        default_root_dir=folder,
        max_epochs=epochs,
        callbacks=callbacks,
        plugins=[AtomicCheckpointIO()],
        logger=False,
        accelerator="cpu",
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        **options,
    )
    validation = DataLoader(torch.zeros(1)) if model.scores else None
    trainer.fit(model, DataLoader(torch.zeros(batches)), validation, ckpt_path=ckpt_path)
    return trainer


def count_in(path: Path) -> float:
    return torch.load(path, weights_only=True)["state_dict"]["count"].item()


def test_last_is_written_every_n_steps_and_at_the_end_of_an_epoch(tmp_path, monkeypatch):
    written = []
    original = AtomicCheckpointIO.save_checkpoint

    def spy(self, checkpoint, path, storage_options=None):
        original(self, checkpoint, path, storage_options)
        written.append((Path(path).name, checkpoint["global_step"]))

    monkeypatch.setattr(AtomicCheckpointIO, "save_checkpoint", spy)
    fit(tmp_path, Counter(), [LastCheckpoint(every_n_steps=3)], epochs=2)
    assert written == [("last.ckpt", step) for step in (3, 5, 6, 9, 10)]
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == ["last.ckpt"]


def test_accumulated_batches_are_one_step(tmp_path, monkeypatch):
    steps = []
    monkeypatch.setattr(Trainer, "save_checkpoint", lambda self, path, weights_only: steps.append(self.global_step))
    fit(tmp_path, Counter(), [LastCheckpoint(every_n_steps=1)], epochs=1, batches=4, accumulate_grad_batches=2)
    assert steps == [1, 2, 2]


def test_best_is_the_state_with_the_best_score(tmp_path):
    fit(tmp_path, Counter([0.1, 0.5, float("nan"), 0.3]), [BestCheckpoint("score")], epochs=4)
    assert count_in(tmp_path / "checkpoints" / "best.ckpt") == 10


def test_a_score_that_is_no_number_is_said_once(tmp_path):
    with pytest.warns(UserWarning, match="is NaN") as caught:
        fit(tmp_path, Counter([0.1, float("nan"), float("nan")]), [BestCheckpoint("score")], epochs=3)
    said = [str(warning.message) for warning in caught if "is NaN" in str(warning.message)]
    assert said == ["score is NaN: this validation does not write best.ckpt"]
    assert count_in(tmp_path / "checkpoints" / "best.ckpt") == 5


def test_less_may_be_better(tmp_path):
    fit(tmp_path, Counter([0.3, 0.1, 0.2]), [BestCheckpoint("score", mode="min")], epochs=3)
    assert count_in(tmp_path / "checkpoints" / "best.ckpt") == 10


def test_a_resumed_run_remembers_the_best_score(tmp_path):
    fit(tmp_path, Counter([0.5]), [BestCheckpoint("score"), LastCheckpoint()], epochs=1)
    last = tmp_path / "checkpoints" / "last.ckpt"
    fit(tmp_path, Counter([0.4, 0.6]), [BestCheckpoint("score"), LastCheckpoint()], epochs=2, ckpt_path=last)
    assert count_in(tmp_path / "checkpoints" / "best.ckpt") == 5
    fit(tmp_path, Counter([0.6]), [BestCheckpoint("score"), LastCheckpoint()], epochs=3, ckpt_path=last)
    assert count_in(tmp_path / "checkpoints" / "best.ckpt") == 15


def test_a_metric_that_is_not_logged_is_named_with_those_that_are(tmp_path):
    with pytest.raises(InputError, match=r"best_checkpoint\.monitor: 'scroe' is not logged; logged are score"):
        fit(tmp_path, Counter([0.5]), [BestCheckpoint("scroe")], epochs=1)


class KillsItsWriter:
    """Half-way through writing it, the process is gone."""

    def __reduce__(self):
        os.kill(os.getpid(), signal.SIGKILL)


def test_kill_while_writing_leaves_the_previous_checkpoint(tmp_path):
    target = tmp_path / "last.ckpt"
    writer = AtomicCheckpointIO()
    writer.save_checkpoint({"step": 1, "weights": torch.ones(1000)}, target)
    child = os.fork()
    if child == 0:
        AtomicCheckpointIO().save_checkpoint({"step": 2, "weights": torch.zeros(1000), "end": KillsItsWriter()}, target)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    assert writer.load_checkpoint(target)["step"] == 1
    writer.save_checkpoint({"step": 3}, target)
    assert writer.load_checkpoint(target)["step"] == 3
    assert [path.name for path in tmp_path.iterdir()] == ["last.ckpt"]


def test_a_run_folder_at_a_url_is_refused_where_files_are_written(tmp_path):
    with pytest.raises(
        InputError, match=r"trainer.default_root_dir s3://bucket/run: .*as --run_dir, which keeps a copy"
    ):
        LastCheckpoint().path(Trainer(default_root_dir="s3://bucket/run", logger=False, accelerator="cpu"))


@pytest.mark.parametrize(("job", "waits"), [("", []), (f"{HEALING} token", [checkpoints.STALE])])
def test_ranks_that_see_other_checkpoints_are_named(tmp_path, monkeypatch, job, waits):
    """Where ranks start again, a client of NFS gets time to see what the one of rank 0 sees."""
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", job)
    waited = []
    monkeypatch.setattr("time.sleep", waited.append)
    (tmp_path / "last.ckpt").touch()
    trainer = SimpleNamespace(
        global_rank=3,
        ckpt_path=tmp_path / "last.ckpt",
        strategy=SimpleNamespace(broadcast=lambda own: "memory (step 7)", checkpoint_io=None),
    )
    with pytest.raises(PassingError, match=r"rank 3 resumes from \S+last.ckpt .*, rank 0 from memory \(step 7\)"):
        LastCheckpoint().setup(trainer, Counter(), "fit")
    assert waited == waits
