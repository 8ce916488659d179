from time import sleep

import pytest
import torch
from lightning.pytorch import Callback
from lightning.pytorch.loggers.logger import Logger

from lightning_rcnn.callbacks import LastCheckpoint, Throughput


class Memory(Logger):
    """Keeps what it is told about the throughput."""

    name, version = "memory", 0

    def __init__(self):
        super().__init__()
        self.history = []

    def log_hyperparams(self, *arguments, **keywords):
        pass

    def log_metrics(self, metrics, step=None):
        if "throughput/images_per_second" in metrics:
            self.history.append((step, metrics))


class Clock:
    """A time that passes only when somebody says so."""

    now = 100.0

    def __call__(self):
        return self.now

    def passes(self, seconds):
        self.now += seconds


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr("lightning_rcnn.callbacks.step_clock.perf_counter", clock)
    return clock


@pytest.fixture
def train(scorer, make_loader, make_trainer, clock, monkeypatch):
    """Steps of 3 seconds with 4 images, each waited for 1 second; validation and checkpoints take 50."""

    def train(*callbacks, batches=4, ckpt_path=None, **options):
        loader = make_loader([1] * batches, batch_size=4)
        samples = loader.dataset

        class Slow(list):
            def __getitem__(self, index):
                clock.passes(1)
                return samples[index]

        loader = type(loader)(Slow(samples), batch_size=None)
        step = type(scorer).training_step

        def training_step(batch, batch_idx):
            clock.passes(3)
            return step(scorer, batch, batch_idx)

        monkeypatch.setattr(scorer, "training_step", training_step)
        memory = Memory()
        trainer = make_trainer(Throughput(), *callbacks, logger=memory, **options)
        trainer.fit(scorer, loader, make_loader([1]), ckpt_path=ckpt_path)
        return memory.history

    return train


def test_rate_and_share_of_waiting(train):
    history = train(limit_val_batches=0, max_epochs=2)
    assert [step for step, _ in history] == [1, 3, 5, 7]
    for _, figures in history:
        assert figures == {"throughput/images_per_second": 1.0, "throughput/data_wait_share": 0.25}


class Delay(Callback):
    def __init__(self, clock):
        self.clock = clock

    def on_validation_batch_start(self, *arguments):
        self.clock.passes(50)

    def on_save_checkpoint(self, *arguments):
        self.clock.passes(50)


@pytest.mark.parametrize(
    "options", [{"val_check_interval": 1}, {"enable_checkpointing": True}], ids=["validation", "checkpoint"]
)
def test_validation_and_checkpoints_do_not_count(train, clock, options):
    extra = [LastCheckpoint(every_n_steps=1)] if "enable_checkpointing" in options else []
    options = {"limit_val_batches": 0, **options} if extra else options
    history = train(Delay(clock), *extra, **options)
    # Of each two waits one is left in the first pair (that of the epoch's start), none in the second.
    assert [figures["throughput/images_per_second"] for _, figures in history] == [8 / 7, 8 / 6]
    assert [figures["throughput/data_wait_share"] for _, figures in history] == [1 / 7, 0]


def test_accumulated_batches_are_logged_once_a_step(train):
    history = train(limit_val_batches=0, batches=8, accumulate_grad_batches=2, log_every_n_steps=2)
    assert [step for step, _ in history] == [1, 3]
    assert [figures["throughput/images_per_second"] for _, figures in history] == [1.0, 1.0]


class Parts(Callback):
    def __init__(self, clock):
        self.clock = clock

    def on_before_backward(self, *arguments):
        self.clock.passes(5)

    def on_before_optimizer_step(self, *arguments):
        self.clock.passes(2)


def test_a_profiled_training_logs_the_parts_of_its_steps(train, clock, monkeypatch):
    monkeypatch.setattr("lightning.pytorch.profilers.simple.time.perf_counter", clock)
    expected = {"step": 10, "forward": 3, "backward": 5, "optimizer": 2}
    for _, figures in train(Parts(clock), max_epochs=2, profiler="simple"):
        assert {key: value for key, value in figures.items() if key.startswith("profile/")} == {
            f"profile/{part}_seconds": seconds for part, seconds in expected.items()
        }


class Save(Callback):
    def __init__(self, path):
        self.path = path

    def on_train_batch_end(self, trainer, *arguments):
        if trainer.global_step == 2:
            trainer.save_checkpoint(self.path)


def test_time_before_a_resume_within_an_epoch_does_not_count(train, tmp_path):
    """Lightning does not announce the start of an epoch that it resumes."""
    train(Save(tmp_path / "half.ckpt"), limit_val_batches=0)
    (step, figures), *_ = train(limit_val_batches=0, ckpt_path=tmp_path / "half.ckpt")
    assert step == 3
    assert figures == {"throughput/images_per_second": 1.0, "throughput/data_wait_share": 0.25}


def test_real_time_passes(scorer, make_loader, make_trainer):
    memory = Memory()
    loader = make_loader([1, 1], batch_size=2)
    trainer = make_trainer(Throughput(), logger=memory, limit_val_batches=0)
    step = scorer.training_step
    scorer.training_step = lambda *arguments: sleep(0.05) or step(*arguments)
    trainer.fit(scorer, loader)
    ((_, figures),) = memory.history
    assert 0 < figures["throughput/images_per_second"] <= 40
    assert 0 <= figures["throughput/data_wait_share"] < 1


def test_memory_of_the_gpu(train, scorer, monkeypatch):
    """Without a GPU its counters are stood in for; the model only says that it is there."""
    peaks, devices = iter([3e9, 2e9]), []
    monkeypatch.setattr(type(scorer), "device", torch.device("cuda", 1))
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda device: devices.append(device) or next(peaks))
    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", devices.append)
    monkeypatch.setattr(type(scorer), "transfer_batch_to_device", lambda self, batch, device, index: batch)
    history = train(limit_val_batches=0)
    assert [figures["throughput/gpu_memory_gb"] for _, figures in history] == [3.0, 2.0]
    assert devices == 4 * [torch.device("cuda", 1)], "read and reset at each row"
