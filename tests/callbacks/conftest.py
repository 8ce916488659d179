import os
import socket
import struct
import sys
import time
import traceback
from typing import NamedTuple

import pytest
import torch
from lightning.pytorch import LightningModule, Trainer
from torch.utils.data import DataLoader
from wandb.proto.wandb_internal_pb2 import Record

from lightning_rcnn.errors import InputError, LostRankError
from lightning_rcnn.stop_signals import Preempted, forget
from lightning_rcnn.structures import NO_IMAGE, Batch, ImageRecord


class Scorer(LightningModule):
    """Stands in for a detector: one weight; losses come from the images' first pixel, metrics are made up."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(()))
        self.last_metrics = {}

    def training_step(self, batch, batch_idx):
        loss = self.weight * batch.images.flatten()[0]
        self.log("train/loss", loss.detach(), batch_size=1)
        return loss

    def validation_step(self, batch, batch_idx):
        pass

    def test_step(self, batch, batch_idx):
        pass

    def on_validation_epoch_end(self):
        per_class = {"cat": 0.25, "dog": float("nan")}
        self.last_metrics = {
            "bbox": {
                "AP": 0.25,
                "AP50": 0.5,
                "APs": float("nan"),
                "per_class": per_class,
                "max_detections": 300,
                "rules": "COCO",
            },
            "proposals": {"AR@100": 0.75},
        }
        self.log("val/bbox/AP", 0.25)

    def on_test_epoch_end(self):
        self.on_validation_epoch_end()

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.0)


@pytest.fixture
def scorer():
    return Scorer()


@pytest.fixture
def make_loader():
    """One batch for each given loss, of one image and one empty slot."""

    def make(losses, batch_size=1):
        batches = []
        for number, loss in enumerate(losses):
            records = [ImageRecord(10 * number + k, f"picture {number}-{k}.jpg", 4, 4) for k in range(batch_size)]
            records.append(ImageRecord(NO_IMAGE, "", 0, 0))
            ids = torch.tensor([record.image_id for record in records])
            images = torch.full((len(records), 3, 4, 4), float(loss))
            batches.append(Batch(images, torch.full((len(records), 2), 4), ids, None, tuple(records)))
        return DataLoader(batches, batch_size=None)

    return make


@pytest.fixture
def make_trainer(tmp_path):
    """A trainer on the CPU that writes into `tmp_path / "run"`."""

    def make(*callbacks, **options):
        return Trainer(
            **{
                "accelerator": "cpu",
                "logger": False,
                "enable_progress_bar": False,
                "enable_model_summary": False,
                "enable_checkpointing": False,
                "max_epochs": 1,
                "num_sanity_val_steps": 0,
                "log_every_n_steps": 2,
                "default_root_dir": tmp_path / "run",
                "callbacks": list(callbacks),
                **options,
            }
        )

    return make


def records_of(path):
    """What W&B wrote to a `.wandb` file: a log of LevelDB's format behind 7 bytes of its own."""
    data = path.read_bytes()
    assert data[:4] == b":W&B"
    position, parts = 7, []
    while position + 7 <= len(data):
        room = 32768 - position % 32768
        if room < 7:  # a header does not cross the border of a block
            position += room
            continue
        _, length, kind = struct.unpack_from("<IHB", data, position)
        if kind == 0:
            break
        parts.append(data[position + 7 : position + 7 + length])
        position += 7 + length
        if kind in (1, 4):  # a whole record, or the last part of one
            yield Record.FromString(b"".join(parts))
            parts = []


@pytest.fixture
def wandb_records():
    """A function that reads the records of a `.wandb` file."""
    return records_of


class Ending(NamedTuple):
    """How the process of a rank ended."""

    status: int
    errors: str
    seconds: float


def be_a_rank(fit, rank, world, port, folder):
    """What `torchrun` tells its processes; then `fit(rank)`, and an ending as the command line has it."""
    os.environ |= {
        "TORCHELASTIC_RUN_ID": "test",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
        "GROUP_RANK": "0",
        "WORLD_SIZE": str(world),
        "LOCAL_WORLD_SIZE": str(world),
    }
    os.dup2(os.open(folder / f"errors{rank}", os.O_WRONLY | os.O_CREAT | os.O_TRUNC), 2)
    sys.stderr = os.fdopen(2, "w", buffering=1)
    forget()
    status = 0
    try:
        fit(rank)
    except (InputError, LostRankError) as error:
        print(f"error: {error}", file=sys.stderr)
        status = 1
    except Preempted as stop:
        print(f"{stop}", file=sys.stderr)
        status = stop.status
    except BaseException:
        traceback.print_exc()
        status = 3
    sys.stderr.flush()
    os._exit(status)


@pytest.fixture
def run_ranks(tmp_path, fresh_process):
    """Runs `fit(rank)` in processes of their own that find each other, and tells how each of them ended."""
    processes = []

    def run(fit, world=2, timeout=60):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        start = time.monotonic()
        processes.extend(fresh_process(be_a_rank, fit, r, world, port, tmp_path) for r in range(world))
        for process in processes:
            process.start()
        endings = []
        for rank, process in enumerate(processes):
            process.join(max(0, start + timeout - time.monotonic()))
            assert process.exitcode is not None, f"rank {rank} hangs: {(tmp_path / f'errors{rank}').read_text()}"
        for rank, process in enumerate(processes):
            text = (tmp_path / f"errors{rank}").read_text()
            endings.append(Ending(process.exitcode, text, time.monotonic() - start))
        processes.clear()
        return endings

    yield run
    for process in processes:
        process.kill()
