"""Every way in which a training may stop, and the same training again: it ends as an undisturbed one, to the bit."""

import errno
import os
import signal
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from math import ceil
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Timer
from torch import nn

from lightning_rcnn.callbacks import checkpoint_io
from lightning_rcnn.callbacks.checkpoints import AtomicCheckpointIO, BestCheckpoint, LastCheckpoint
from lightning_rcnn.callbacks.ema import EMA
from lightning_rcnn.callbacks.preemption import Preemption
from lightning_rcnn.data.datamodule import DetectionDataModule
from lightning_rcnn.data.resize import ResizeRule
from lightning_rcnn.data.transforms import Colors, HorizontalFlip, Mosaic
from lightning_rcnn.errors import InputError
from lightning_rcnn.stop_signals import Preempted, forget
from lightning_rcnn.structures import Batch

EPOCH = 10  # batches: 43 images, 4 a batch


class Learner(LightningModule):
    """Two layers and a norm on the pictures' mean color; `happens` is called in each step and each validation step."""

    def __init__(self, happens: Callable[["Learner", str], None] = lambda module, stage: None) -> None:
        super().__init__()
        self.resize_rule = ResizeRule(32, 64)
        torch.manual_seed(0)
        self.network = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 1))
        self.happens = happens
        self.validated: list[int] = []

    def training_step(self, batch: Batch, batch_idx: int) -> torch.Tensor:
        self.happens(self, "training")
        return self._loss(batch)

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        self.happens(self, "validation")
        self.log("score", -self._loss(batch), batch_size=1)

    def on_validation_epoch_end(self) -> None:
        self.validated.append(self.trainer.global_step)

    def _loss(self, batch: Batch) -> torch.Tensor:
        return (self.network(batch.images.float().mean((2, 3)) / 255) - 1).square().mean()

    def configure_optimizers(self) -> Any:
        optimizer = torch.optim.SGD(self.parameters(), lr=0.1, momentum=0.9)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: min(1, (step + 1) / 15))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


def fit(shards: Path, folder: Path, module: Learner, **options: Any) -> Learner:
    """What `fit --ckpt_path last` does."""
    callbacks = [Preemption(), LastCheckpoint(every_n_steps=3), BestCheckpoint("score")]
    workers = options.pop("num_workers", 0)
    if options.pop("averaged", False):
        callbacks.append(EMA(0.5, use_buffers=False))
    defaults = {"max_epochs": 2, "num_sanity_val_steps": 0, "accelerator": "cpu", "devices": 1, "logger": False}
    defaults |= {"enable_progress_bar": False, "enable_model_summary": False}
    trainer = Trainer(
        **(defaults | options), callbacks=callbacks, plugins=[AtomicCheckpointIO()], default_root_dir=folder
    )
    val = str(shards / "shard-000003.tar")
    transforms = [HorizontalFlip(), Mosaic(p=0.5), Colors(brightness=0.3)]
    data = DetectionDataModule(str(shards), val, batch_size=4, num_workers=workers, train_transforms=transforms)
    last = folder / "checkpoints" / "last.ckpt"
    trainer.fit(module, datamodule=data, ckpt_path=last if last.exists() else None)
    return module


def outcome(folder: Path) -> dict[str, Any]:
    """All that a training comes to: weights, averages, momenta, learning rates, and counters of what was trained."""
    state = torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)
    loops = state["loops"]["fit_loop"]
    kept = ("epoch", "global_step", "state_dict", "current_model_state", "optimizer_states", "lr_schedulers")
    averaged = [value for name, value in state["callbacks"].items() if "Averag" in name]
    counters = ("epoch_progress", "epoch_loop.batch_progress", "epoch_loop.state_dict")
    return {
        **{name: state.get(name) for name in kept},
        "averaged": averaged,
        "averaging_state": state.get("averaging_state"),
        "loops": [loops[name] for name in counters],
        "data": state["DetectionDataModule"],
    }


def differences(first: Any, second: Any, path: str = "") -> list[str]:
    if isinstance(first, dict) and isinstance(second, dict) and set(first) == set(second):
        return [line for key in first for line in differences(first[key], second[key], f"{path}/{key}")]
    if isinstance(first, (list, tuple)) and len(first) == len(second):
        return [
            line for k, both in enumerate(zip(first, second, strict=True)) for line in differences(*both, f"{path}/{k}")
        ]
    same = torch.equal(first, second) if isinstance(first, torch.Tensor) else first == second
    return [] if same else [f"{path}: {first} and {second}"]


def at(step: int, action: Callable[[], None], stage: str = "training") -> Callable[[Learner, str], None]:
    """Do something in the first batch of a stage at this step, once."""
    left = [action]

    def happens(module: Learner, where: str) -> None:
        if left and where == stage and module.trainer.global_step >= step:
            left.pop()()

    return happens


def send(number: int) -> Callable[[], None]:
    return lambda: os.kill(os.getpid(), number)


def fail(error: BaseException) -> Callable[[], None]:
    def action() -> None:
        raise error

    return action


class Stop:
    """Stops a training at a step; each method is a way to do it."""

    def __init__(
        self, shards: Path, folder: Path, options: dict[str, Any], step: int, patch: Any, fresh_process: Any
    ) -> None:
        self.shards, self.folder, self.options, self.step = shards, folder, options, step
        self.patch, self.fresh_process = patch, fresh_process

    def fit(self, happens: Callable[[Learner, str], None] = lambda module, stage: None, **limits: Any) -> Learner:
        return fit(self.shards, self.folder, Learner(happens), **{**self.options, **limits})

    def max_steps(self) -> None:
        module = self.fit(max_steps=self.step)
        assert module.trainer.global_step == self.step
        self._is_validated(module)

    def max_time(self) -> None:
        seconds = [0]

        def happens(module: Learner, stage: str) -> None:
            seconds[0] = module.trainer.global_step + 1

        with self.patch.context() as patch:
            patch.setattr(Timer, "time_elapsed", lambda self, stage="train": seconds[0])
            module = self.fit(happens, max_time={"seconds": self.step})
        assert module.trainer.global_step == self.step
        self._is_validated(module)

    def _is_validated(self, module: Learner) -> None:
        assert module.validated[-1] == self.step
        assert len(set(module.validated)) == len(module.validated)
        assert (self.folder / "checkpoints" / "best.ckpt").exists()

    def term(self) -> None:
        with pytest.raises(Preempted):
            self.fit(at(self.step - 1, send(signal.SIGTERM)))

    def usr1(self) -> None:
        with pytest.raises(Preempted):
            self.fit(at(self.step - 1, send(signal.SIGUSR1)))

    def kill_9(self) -> None:
        module = Learner(at(self.step - 1, send(signal.SIGKILL)))
        process = self.fresh_process(partial(fit, **self.options), self.shards, self.folder, module)
        process.start()
        process.join()
        assert process.exitcode == -signal.SIGKILL

    def ctrl_c(self) -> None:
        with pytest.raises(SystemExit):
            self.fit(at(self.step - 1, fail(KeyboardInterrupt())))

    def error(self) -> None:
        with pytest.raises(RuntimeError, match="broken"):
            self.fit(at(self.step - 1, fail(RuntimeError("broken"))))

    def end_of_epoch(self) -> None:
        self.fit(max_epochs=1)

    def signal_in_validation(self) -> None:
        with pytest.raises(Preempted):
            self.fit(at(1, send(signal.SIGTERM), "validation"))

    def error_in_validation(self) -> None:
        with pytest.raises(RuntimeError, match="broken"):
            self.fit(at(1, fail(RuntimeError("broken")), "validation"))

    def signal_in_last_validation(self) -> None:
        """A validation that only the limit made due is done again, under the same limit and before a larger one."""
        with pytest.raises(Preempted):
            self.fit(at(self.step, send(signal.SIGTERM), "validation"), max_steps=self.step)
        forget()
        module = self.fit(max_steps=self.step)
        assert module.validated == [self.step]
        assert (self.folder / "checkpoints" / "best.ckpt").exists()

    def full_disk(self) -> None:
        def write(content: dict[str, Any], path: Path) -> None:
            if content["global_step"] >= self.step:
                raise OSError(errno.ENOSPC, "No space left on device")
            whole(content, path)

        whole = checkpoint_io.atomic_save
        with self.patch.context() as patch:
            patch.setattr(checkpoint_io, "atomic_save", write)
            with pytest.raises(InputError, match="No space left"):
                self.fit()

    def twice(self) -> None:
        self.max_steps()
        self.step += 2
        self.term()

    def in_the_first_batch(self) -> None:
        self.step = 1
        self.term()

    def in_the_last_batch(self) -> None:
        """Of the training: there is nothing left to stop, or the validation after it."""
        batches = self.options.get("limit_train_batches") or self.options.get("overfit_batches") or EPOCH
        steps = ceil(batches / self.options.get("accumulate_grad_batches", 1))
        self.step = steps * max(self.options.get("max_epochs", 2), 2)
        with suppress(Preempted):
            self.fit(at(self.step - 1, send(signal.SIGTERM)))


WAYS = [name for name, value in vars(Stop).items() if callable(value) and not name.startswith("_") and name != "fit"]
SETTINGS = {
    "plain": {},
    "accumulated": {"accumulate_grad_batches": 3},
    "averaged": {"averaged": True},
    "several validations": {"val_check_interval": 4},
    "validations within accumulation": {"val_check_interval": 4, "accumulate_grad_batches": 3},
    "rare validations": {"check_val_every_n_epoch": 3},
    "limit_train_batches": {"limit_train_batches": 7},
    "overfit_batches": {"overfit_batches": 4, "max_epochs": 4},
    "steps alone": {"max_epochs": -1, "max_steps": 20},
    "validations by step": {"val_check_interval": 6, "check_val_every_n_epoch": None},
    "accumulates more than an epoch": {"accumulate_grad_batches": 12, "max_epochs": 4},
}
STEPS = {
    "limit_train_batches": 10,
    "accumulated": 5,
    "validations within accumulation": 5,
    "accumulates more than an epoch": 2,
}


@pytest.fixture(scope="module")
def undisturbed(uneven_set, tmp_path_factory):
    known: dict[str, dict[str, Any]] = {}

    def outcome_of(setting: str) -> dict[str, Any]:
        if setting not in known:
            folder = tmp_path_factory.mktemp("undisturbed")
            fit(uneven_set, folder, Learner(), **SETTINGS[setting])
            known[setting] = outcome(folder)
        return known[setting]

    return outcome_of


# A fifth of the combinations by default, with each way and each setting in two at least.
COMBINATIONS = [
    pytest.param(way, setting, marks=[] if (row + column) % 5 == 0 else pytest.mark.slow, id=f"{way}, {setting}")
    for row, way in enumerate(WAYS)
    for column, setting in enumerate(SETTINGS)
]


@pytest.mark.parametrize(("way", "setting"), COMBINATIONS)
@pytest.mark.end_to_end
def test_a_stopped_training_ends_as_an_undisturbed_one(
    uneven_set, tmp_path, monkeypatch, fresh_process, undisturbed, way, setting
):
    options = SETTINGS[setting]
    stop = Stop(uneven_set, tmp_path, options, STEPS.get(setting, 13), monkeypatch, fresh_process)
    getattr(stop, way)()
    forget()
    fit(uneven_set, tmp_path, Learner(), **options)
    assert not differences(undisturbed(setting), outcome(tmp_path))
