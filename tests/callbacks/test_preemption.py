"""Stops of small trainings; `tests/cli/test_preemption.py` and `tests/slurm` have whole runs."""

import os
import signal
import time
from pathlib import Path
from threading import Event
from unittest.mock import MagicMock

import pytest
import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.loggers import WandbLogger
from torch.utils.data import DataLoader

from lightning_rcnn.callbacks import preemption
from lightning_rcnn.callbacks.checkpoints import AtomicCheckpointIO, LastCheckpoint
from lightning_rcnn.callbacks.preemption import Preemption
from lightning_rcnn.callbacks.wandb_logging import DetectionWandbLogger
from lightning_rcnn.errors import InputError
from lightning_rcnn.stop_signals import SIGNALS, Preempted, forget, listen


class Loader(DataLoader):
    """One that Lightning takes for resumable; its batches are all the same."""

    def state_dict(self):
        return {}

    def load_state_dict(self, state):
        pass


class Steps(LightningModule):
    """Counts its batches in its only parameter; gets a signal in one of them, or in one of the validation."""

    def __init__(self, in_batch=None, in_validation=None, number=signal.SIGUSR1):
        super().__init__()
        self.count = torch.nn.Parameter(torch.zeros(()))
        self.in_batch, self.in_validation, self.number = in_batch, in_validation, number
        self.validated, self.batches = [], 0

    def training_step(self, batch, batch_idx):
        self.batches += 1
        if self.batches == self.in_batch:
            os.kill(os.getpid(), self.number)
        return self.count * -1.0

    def validation_step(self, batch, batch_idx):
        self.validated.append((self.trainer.global_step, batch_idx))
        if len(self.validated) == self.in_validation:
            os.kill(os.getpid(), self.number)

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=1.0)


def fit(folder: Path, model: Steps, *, validation=0, ckpt_path=None, callbacks=None, logger=False, **options) -> Steps:
    trainer = Trainer(
        default_root_dir=folder,
        max_epochs=2,
        callbacks=callbacks or [Preemption(), LastCheckpoint()],
        plugins=[AtomicCheckpointIO()],
        logger=logger,
        accelerator="cpu",
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        use_distributed_sampler=False,
        **options,
    )
    loaders = [Loader(torch.zeros(size)) for size in (5, validation)]
    trainer.fit(model, loaders[0], loaders[1] if validation else None, ckpt_path=ckpt_path)
    return model


def last(folder: Path) -> Path:
    return folder / "checkpoints" / "last.ckpt"


def count_in(path: Path) -> float:
    return torch.load(path, weights_only=True)["state_dict"]["count"].item()


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_stops_at_the_end_of_its_batch_and_the_training_resumes_there(tmp_path, number):
    with pytest.raises(Preempted, match=r"SIG.*, saved after step 3 in .*last\.ckpt; .*--ckpt_path last") as caught:
        fit(tmp_path, Steps(in_batch=3, number=number))
    assert number.name in str(caught.value)
    assert caught.value.status == 75
    assert count_in(last(tmp_path)) == 3
    forget()
    assert fit(tmp_path, Steps(), ckpt_path=last(tmp_path)).count == 10
    assert count_in(last(tmp_path)) == 10


def test_a_signal_before_the_first_step_stops_there(tmp_path):
    listen()
    os.kill(os.getpid(), signal.SIGUSR1)
    with pytest.raises(Preempted, match="before the first step"):
        fit(tmp_path, Steps())
    assert not last(tmp_path).exists()


def test_a_signal_before_a_training_resumes_stops_it_before_its_checkpoint_is_read(tmp_path):
    fit(tmp_path, Steps())
    os.kill(os.getpid(), signal.SIGUSR1)
    with pytest.raises(Preempted, match="before the first step"):
        fit(tmp_path, Steps(), ckpt_path=tmp_path / "missing.ckpt")


def test_gradients_are_accumulated_to_the_end(tmp_path):
    with pytest.raises(Preempted):
        fit(tmp_path, Steps(in_batch=1), accumulate_grad_batches=2)
    assert torch.load(last(tmp_path), weights_only=True)["global_step"] == 1
    assert count_in(last(tmp_path)) == 1


@pytest.mark.parametrize("moment", [{"in_batch": 5}, {"in_validation": 2}], ids=["before", "within"])
@pytest.mark.parametrize("check", [{}, {"val_check_interval": 2}], ids=["at the end", "mid-epoch"])
def test_a_validation_that_was_broken_off_is_done_again_as_a_whole(tmp_path, moment, check):
    undisturbed = fit(tmp_path / "undisturbed", Steps(), validation=3, **check)
    stopped = Steps(**moment)
    with pytest.raises(Preempted, match="saved after step"):
        fit(tmp_path, stopped, validation=3, **check)
    step = torch.load(last(tmp_path), weights_only=True)["global_step"]
    forget()
    resumed = fit(tmp_path, Steps(), validation=3, ckpt_path=last(tmp_path), **check)
    assert resumed.count == undisturbed.count == 10
    done = [entry for entry in stopped.validated if entry[0] < step or "in_validation" not in moment]
    assert done + resumed.validated == undisturbed.validated


def test_a_signal_at_the_very_end_changes_nothing(tmp_path):
    assert fit(tmp_path, Steps(in_batch=10)).count == 10
    assert count_in(last(tmp_path)) == 10


def test_lightnings_own_handlers_stay_away(tmp_path):
    class Looks(Steps):
        def training_step(self, batch, batch_idx):
            self.handlers = {signal.getsignal(number) for number in SIGNALS}
            return super().training_step(batch, batch_idx)

    assert len(fit(tmp_path, Looks()).handlers) == 1


def test_it_wants_the_last_checkpoint_beside_it(tmp_path):
    with pytest.raises(InputError, match="Preemption needs LastCheckpoint"):
        fit(tmp_path, Steps(), callbacks=[Preemption()])


@pytest.fixture
def wandb_logger(monkeypatch, tmp_path):
    """With a run that writes down what it is asked for, and that notes when the job is requeued."""
    run = MagicMock()
    monkeypatch.setattr(preemption, "requeue", lambda: run.requeue() and "requeued")
    return WandbLogger(experiment=run, save_dir=tmp_path)


def test_wandb_is_finished_before_slurm_ends_its_process(tmp_path, wandb_logger):
    with pytest.raises(Preempted):
        fit(tmp_path, Steps(in_batch=3), logger=wandb_logger)
    names = [call[0] for call in wandb_logger.experiment.method_calls]
    assert names[-3:] == ["mark_preempting", "finish", "requeue"]
    assert wandb_logger.experiment.finish.call_args.kwargs == {"exit_code": 75}
    assert "saved after step 3" in wandb_logger.experiment.alert.call_args.kwargs["text"]


def test_a_run_that_has_logged_nothing_does_not_start_to_say_that_it_stops(tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "offline")
    listen()
    os.kill(os.getpid(), signal.SIGUSR1)
    with pytest.raises(Preempted, match="before the first step"):
        fit(tmp_path, Steps(), logger=DetectionWandbLogger(save_dir=tmp_path))
    assert not (tmp_path / "wandb").exists()


def test_a_run_that_a_sweep_ends_early_is_saved_and_not_requeued(tmp_path, wandb_logger, monkeypatch):
    """By `wandb agent`, which sends TERM and gives up after runs that exit with another status than 0."""
    monkeypatch.setenv("WANDB_SWEEP_ID", "sweep")
    with pytest.raises(Preempted, match="stopped by SIGTERM, saved after step 3") as caught:
        fit(tmp_path, Steps(in_batch=3, number=signal.SIGTERM), logger=wandb_logger)
    assert caught.value.status == 0
    assert count_in(last(tmp_path)) == 3
    names = [call[0] for call in wandb_logger.experiment.method_calls]
    assert names[-1] == "finish"
    assert not {"mark_preempting", "requeue", "alert"} & set(names), "the sweep would start the run again"
    assert wandb_logger.experiment.finish.call_args.kwargs == {"exit_code": 0}


def test_a_job_is_requeued_although_wandb_does_not_come_to_its_end(tmp_path, wandb_logger, monkeypatch):
    monkeypatch.setattr(preemption, "UPLOAD_TIMEOUT", 0.05)
    never = Event()
    wandb_logger.experiment.finish.side_effect = lambda exit_code: never.wait(60)
    with pytest.raises(Preempted, match="requeued"):
        fit(tmp_path, Steps(in_batch=3), logger=wandb_logger)
    never.set()


@pytest.mark.end_to_end
def test_ranks_stop_together_although_one_of_them_got_the_signal(tmp_path, run_ranks):
    """Rank 1 is the slower one by far, and rank 0 knows nothing of the signal."""

    class Uneven(Steps):
        def training_step(self, batch, batch_idx):
            time.sleep(0.1 * self.global_rank)
            return super().training_step(batch, batch_idx)

    def fit_rank(rank):
        fit(tmp_path, Uneven(in_batch=3 if rank == 1 else None), devices=2, strategy="ddp")

    first, second = run_ranks(fit_rank)
    assert (first.status, second.status) == (75, 0), first.errors + second.errors
    assert "stopped by the signal of another rank, saved after step 4" in first.errors
    assert "saved" not in second.errors
    assert count_in(last(tmp_path)) == 4  # the ranks agree one batch later


@pytest.mark.end_to_end
def test_ranks_stop_together_within_a_validation(tmp_path, run_ranks):
    def fit_rank(rank):
        fit(tmp_path, Steps(in_validation=2 if rank else None), validation=5, devices=2, strategy="ddp")

    endings = run_ranks(fit_rank)
    assert [ending.status for ending in endings] == [75, 0], endings
    assert count_in(last(tmp_path)) == 5


@pytest.mark.parametrize(
    ("group", "for_good", "status"),
    [
        ("0", None, 0),  # torchrun ends the ranks beside one that fails, rank 0 among them
        ("1", None, 75),  # its node wants another start
        ("1", 130, 0),  # W&B stopped the run, as rank 0 alone knows: no other start
    ],
)
def test_a_rank_of_another_node_of_torchrun_asks_for_another_start(monkeypatch, group, for_good, status):
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "a")
    monkeypatch.setenv("GROUP_RANK", group)
    trainer = MagicMock(is_global_zero=False)
    trainer.strategy.broadcast.side_effect = lambda own: for_good  # what rank 0 has
    with pytest.raises(Preempted) as caught:
        Preemption()._stop(trainer)
    assert (str(caught.value), caught.value.status) == ("", status)
