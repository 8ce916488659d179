"""Ranks that are killed, fail, hang or are slow: what the others do, and who is named."""

import os
import signal
import subprocess
import sys
import time

import pytest
import torch
import wandb
from lightning.pytorch import LightningModule, Trainer
from torch.utils.data import DataLoader

from lightning_rcnn.callbacks import checkpoint_io, rank_watch
from lightning_rcnn.callbacks.checkpoints import AtomicCheckpointIO, LastCheckpoint
from lightning_rcnn.callbacks.heartbeats import odd_ones_out
from lightning_rcnn.callbacks.rank_watch import RankWatch
from lightning_rcnn.callbacks.wandb_logging import DetectionWandbLogger
from lightning_rcnn.errors import InputError


class Model(LightningModule):
    """`trouble(rank)` comes over each rank in the third of its batches."""

    def __init__(self, trouble):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(()))
        self.trouble = trouble

    def training_step(self, batch, batch_idx):
        if batch_idx == 2:
            self.trouble(self.global_rank)
        return self.weight * batch.mean()

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


@pytest.fixture
def fit_ranks(run_ranks, tmp_path):
    """Five times as fast as life."""

    def fit(trouble, world=2, make_logger=bool, **options):
        def fit_rank(rank):
            rank_watch.BEAT, rank_watch.LAST_WORDS = 0.2, 0.6
            trainer = Trainer(
                default_root_dir=tmp_path,
                devices=world,
                strategy="ddp",
                max_epochs=1,
                accelerator="cpu",
                callbacks=[RankWatch(**options), LastCheckpoint(every_n_steps=1)],
                plugins=[AtomicCheckpointIO()],
                logger=make_logger(),
                enable_progress_bar=False,
                enable_model_summary=False,
                use_distributed_sampler=False,
            )
            try:
                trainer.fit(Model(trouble), DataLoader(torch.ones(5)))
            finally:
                wandb.teardown()  # as the interpreter does at its end

        return run_ranks(fit_rank, world)

    return fit


def errors_in(ending):
    """Whether the main thread says it or the one that watches."""
    return [line.partition("error: ")[2] for line in ending.errors.splitlines() if "error: " in line]


@pytest.fixture
def logged_alerts(tmp_path, monkeypatch, wandb_records):
    """Makes an offline W&B logger, and reads the alerts in its run."""
    monkeypatch.setenv("WANDB_MODE", "offline")

    class Logged:
        def make_logger(self):
            return DetectionWandbLogger(save_dir=tmp_path)

        def read(self):
            [path] = tmp_path.glob("wandb/offline-run-*/*.wandb")
            alerts = [record.alert for record in wandb_records(path) if record.WhichOneof("record_type") == "alert"]
            return [(alert.title, alert.text) for alert in alerts]

    return Logged()


@pytest.mark.end_to_end
def test_nothing_is_said_where_nothing_happens(fit_ranks):
    for ending in fit_ranks(lambda rank: time.sleep(0.5 * rank), world=3):
        assert (ending.status, errors_in(ending)) == (0, [])


@pytest.mark.parametrize("victim", [0, 1])
@pytest.mark.end_to_end
def test_a_killed_rank_is_named_and_the_others_end(fit_ranks, logged_alerts, tmp_path, victim):
    endings = fit_ranks(
        lambda rank: os.kill(os.getpid(), signal.SIGKILL) if rank == victim else None,
        make_logger=logged_alerts.make_logger,
    )
    survivor = endings[1 - victim]
    assert endings[victim].status == -signal.SIGKILL
    assert survivor.status == 1
    assert survivor.seconds < 20
    (line,) = errors_in(survivor)
    assert f"rank {victim} " in line
    assert "gone" in line
    assert torch.load(tmp_path / "checkpoints" / "last.ckpt", weights_only=True)["global_step"] == 2
    if victim != 0:  # which has the run
        assert logged_alerts.read() == [("ranks lost", line)]


@pytest.mark.end_to_end
def test_a_store_that_is_gone_prints_nothing_of_torchs_own():
    """In a fresh process, because torch reads the variable as it is imported."""
    serve = (
        "import sys, time\n"
        "from torch.distributed import TCPStore\n"
        "store = TCPStore('localhost', 0, is_master=True, wait_for_workers=False)\n"
        "print(store.port, flush=True)\n"
        "time.sleep(60)"
    )
    ask = (
        "import subprocess, sys\n"
        "from lightning_rcnn.cli import main\n"
        "main(['--version'])\n"
        "from torch.distributed import DistError, TCPStore\n"
        "server = subprocess.Popen([sys.executable, '-c', sys.argv[1]], stdout=subprocess.PIPE, text=True)\n"
        "store = TCPStore('localhost', int(server.stdout.readline()), is_master=False)\n"
        "store.set('key', 'value')\n"
        "server.kill(), server.wait()\n"
        "try:\n"
        "    store.check(['key'])\n"
        "except DistError:\n"
        "    print('gone')"
    )
    outcome = subprocess.run([sys.executable, "-c", ask, serve], capture_output=True, text=True, timeout=100)
    assert (outcome.stdout.splitlines()[-1:], outcome.stderr) == (["gone"], "")


@pytest.mark.end_to_end
def test_a_rank_that_fails_is_quoted_by_the_first_one(fit_ranks):
    def fail(rank):
        if rank == 1:
            raise InputError("http://host/shard-3.tar: HTTP 503; check the address")

    first, second = fit_ranks(fail)
    assert errors_in(second) == ["http://host/shard-3.tar: HTTP 503; check the address"]
    assert errors_in(first) == ["rank 1 ended: http://host/shard-3.tar: HTTP 503; check the address"]
    assert (first.status, second.status) == (1, 1)


def hang(rank):
    time.sleep(50 * rank)


@pytest.mark.end_to_end
def test_a_rank_that_hangs_is_named_with_its_place(fit_ranks, logged_alerts):
    first, second = fit_ranks(hang, stall_timeout=5.0, make_logger=logged_alerts.make_logger)
    assert (first.status, second.status) == (1, 1)
    assert first.seconds < 20
    (line,) = errors_in(first)
    assert "no batch ended for 5 s: rank 1 (" in line
    assert "test_rank_watch.py" in line
    assert not errors_in(second)
    assert logged_alerts.read() == [("ranks lost", line)], "although its process ends at once"


@pytest.mark.parametrize("victim", [0, 1])
@pytest.mark.end_to_end
def test_a_rank_that_gives_no_sign_of_life_is_named(fit_ranks, victim):
    """Stopped, as a machine that froze: its connections stay open."""
    endings = fit_ranks(lambda rank: stop_for_a_while() if rank == victim else None, heartbeat_timeout=1.5)
    assert [ending.status for ending in endings] == [1, 1]
    other = endings[1 - victim]
    assert other.seconds < 20
    (line,) = errors_in(other)
    assert line.startswith(f"rank {victim} ")
    assert line.endswith("gives no sign of life for 1.5 s")


def stop_for_a_while():
    if child := os.fork():
        os.waitpid(child, os.WNOHANG)
        return
    parent = os.getppid()
    os.kill(parent, signal.SIGSTOP)
    time.sleep(4)
    os.kill(parent, signal.SIGCONT)
    os._exit(0)


def fill_the_disk(rank):
    def fail(content, path):
        raise OSError(28, "No space left on device")

    checkpoint_io.atomic_save = fail


@pytest.mark.end_to_end
def test_a_full_disk_ends_all_ranks_and_leaves_the_checkpoint_before(fit_ranks, tmp_path):
    first, second = fit_ranks(fill_the_disk)
    (line,) = errors_in(first)
    assert "last.ckpt: cannot be written (No space left on device); the previous checkpoint is untouched" in line
    assert (first.status, second.status, errors_in(second)) == (1, 1, [])
    assert torch.load(tmp_path / "checkpoints" / "last.ckpt", weights_only=True)["global_step"] == 2


@pytest.mark.parametrize(
    ("positions", "ranks"),
    [
        ({0: "/torch/autograd/graph.py:9", 1: "/torch/autograd/graph.py:9", 2: "fit.py:3"}, [2]),
        ({0: "loader.py:9", 1: "step.py:4", 2: "step.py:4"}, [0]),
        ({0: "/torch/autograd/graph.py:9", 1: "loader.py:9", 2: "loader.py:9"}, [1, 2]),
        ({0: "/torch/a.py:1", 1: "/torch/a.py:1"}, [0, 1]),
    ],
)
def test_the_others_wait_for_the_odd_ones_out(positions, ranks):
    assert odd_ones_out(positions)[0] == ranks


def test_timeouts_that_are_too_short_are_refused():
    with pytest.raises(InputError, match="heartbeat_timeout 1 has to be at least 3"):
        RankWatch(heartbeat_timeout=1)
