"""The loader by itself, without Lightning: epochs, workers, unreadable records, signals."""

import logging
import os
import re
import signal
import subprocess
import time
from functools import partial
from itertools import chain, islice
from pathlib import Path

import numpy as np
import pytest
import torch

from lightning_rcnn.data import interpret
from lightning_rcnn.data.batch_memory import BUFFERS
from lightning_rcnn.data.cache import ShardCache
from lightning_rcnn.data.dataset import DetectionDataset
from lightning_rcnn.data.decoded_image import DecodedImage
from lightning_rcnn.data.fetch import FetchPolicy
from lightning_rcnn.data.index import ShardIndex
from lightning_rcnn.data.loader import PlannedLoader
from lightning_rcnn.data.pack.shapes import shapes_source
from lightning_rcnn.data.pack.shard_writer import ShardWriter
from lightning_rcnn.data.padded_set import pad_set
from lightning_rcnn.data.pixel_format import PixelFormat
from lightning_rcnn.data.reader import RawSample, ShardReader
from lightning_rcnn.data.resize import ResizeRule
from lightning_rcnn.data.shards import read_shards
from lightning_rcnn.data.transforms import HorizontalFlip
from lightning_rcnn.errors import InputError
from lightning_rcnn.structures import NO_IMAGE

SLOW_STARTS = ("spawn", "forkserver")
RULES = [ResizeRule(32, 64)]


def training_loader(folder: Path, *, batch_size: int = 4, rank: int = 0, world: int = 1, **options) -> PlannedLoader:
    data = pad_set(read_shards(str(folder)), RULES)
    reader = ShardReader(data.shard_set, ShardCache(None, 1e9, FetchPolicy(1.0, 1)))
    samples = DetectionDataset(reader, RULES, "training", [HorizontalFlip()])
    plan = partial(data.plan_training, seed=0, batch_size=batch_size, rank=rank, world=world, window=100)
    memory = samples.layout(batch_size, data.largest_shape).num_bytes
    num_batches = len(data) // (batch_size * world)
    return PlannedLoader(samples, plan, num_batches, rank=rank, world=world, image_bytes=memory, **options)


def ids_of(loader: PlannedLoader) -> list[list[int]]:
    return [batch.image_ids.tolist() for batch in loader]


def error_of(loader: PlannedLoader) -> str:
    """Without a traceback that would keep the loader until garbage is collected: its workers then end by timeouts."""
    try:
        list(loader)
    except InputError as error:
        return str(error)
    raise AssertionError("no InputError was raised")


@pytest.mark.parametrize("workers", [{}, {"num_workers": 1}, {"num_workers": 3}])
def test_workers_do_not_change_what_comes(uneven_set: Path, workers):
    reference, loader = training_loader(uneven_set), training_loader(uneven_set, **workers)
    orders = []
    for epoch in range(3):
        reference.sampler.set_epoch(epoch)
        loader.sampler.set_epoch(epoch)
        batches = list(loader)
        assert len(batches) == len(loader) == 10
        for batch, expected in zip(batches, reference, strict=True):
            assert batch.image_ids.tolist() == expected.image_ids.tolist()
            assert (batch.images == expected.images).all()
            assert (batch.targets.boxes == expected.targets.boxes).all()
        orders.append([batch.image_ids.tolist() for batch in batches])
    assert orders[0] != orders[1] != orders[2]


@pytest.mark.end_to_end
def test_spawned_workers_do_not_change_the_samples(uneven_set: Path):
    loader = training_loader(uneven_set, num_workers=1, multiprocessing_context="spawn")
    places = set()
    for batch, expected in zip(loader, training_loader(uneven_set), strict=True):
        assert batch.image_ids.tolist() == expected.image_ids.tolist()
        assert torch.equal(batch.images, expected.images)
        places.add(batch.images.data_ptr())
    assert len(places) <= BUFFERS  # they share the memory of batches, too


def test_an_epoch_that_was_broken_off_leaves_nothing_behind(uneven_set: Path):
    loader = training_loader(uneven_set, num_workers=2)
    for _ in range(BUFFERS):
        list(islice(loader, 3))
    loader.sampler.set_epoch(1)
    expected = training_loader(uneven_set)
    expected.sampler.set_epoch(1)
    assert ids_of(loader) == ids_of(expected)
    assert not loader._memory.is_taken(0).any()
    assert not loader._memory.is_taken(1).any()


def test_position_is_asked_for_at_the_first_batch(uneven_set: Path):
    positions = [(2, 7)]
    loader = training_loader(uneven_set, position=lambda: positions[-1])
    iterator = iter(loader)
    positions.append((1, 4))
    whole = training_loader(uneven_set)
    whole.sampler.set_epoch(1)
    assert [batch.image_ids.tolist() for batch in iterator] == ids_of(whole)[4:]
    assert len(loader) == 10


@pytest.mark.slow
def test_resuming_mid_epoch_in_a_large_set_reads_one_batch(make_set, tmp_path: Path, monkeypatch):
    """100 000 images in 100 shards: only the samples of the batch are read, wherever they lie."""
    folder = make_set(tmp_path / "large", [1000] * 100, sizes=[(8, 8)])
    read = []
    real_pread = os.pread
    monkeypatch.setattr(os, "pread", lambda fd, size, start: read.append(size) or real_pread(fd, size, start))
    loader = training_loader(folder, batch_size=16, position=lambda: (3, 3125))
    batch = next(iter(loader))
    assert len(batch.records) == 16
    assert sum(read) < 0.05 * (folder / "shard-000000.tar").stat().st_size


def test_ranks_share_an_epoch(uneven_set: Path):
    parts = [ids_of(training_loader(uneven_set, batch_size=2, rank=rank, world=3)) for rank in range(3)]
    whole = ids_of(training_loader(uneven_set, batch_size=6))
    assert [list(chain(*batches)) for batches in zip(*parts, strict=True)] == whole


@pytest.mark.parametrize("num_workers", [0, 2])
def test_unreadable_records_are_named_once_and_left_out(make_set, tmp_path: Path, caplog, num_workers: int):
    folder = make_set(tmp_path / "set", (20, 20), broken=[3, 30])
    loader = training_loader(folder, max_corrupt_share=0.05, num_workers=num_workers)
    for epoch in range(2):
        loader.sampler.set_epoch(epoch)
        with caplog.at_level(logging.WARNING):
            ids = list(chain(*ids_of(loader)))
        assert ids.count(NO_IMAGE) == 2
        assert len(set(ids)) == 39
    assert len(loader.problems) == 2
    assert len(caplog.messages) == 2
    assert {number for number in (3, 30) for message in caplog.messages if f"key {number:09d}" in message} == {3, 30}


@pytest.mark.parametrize("num_workers", [0, 2])
def test_damaged_images_that_decode_are_used_and_named_once(tmp_path: Path, caplog, num_workers: int):
    """Bytes that belong to no image before the end marker: libjpeg-turbo warns of them, and no pixel is missing."""
    scenes = shapes_source(2)
    with ShardWriter(tmp_path, shard_size=2) as writer:
        for index, junk in enumerate((b"", b"some forty bytes that belong to no picture")):
            sample = scenes.read(index).sample
            assert sample is not None
            writer.write(sample._replace(image=sample.image[:-2] + junk + sample.image[-2:]))
    ShardIndex("scenes", scenes.categories, True, writer.shards, report={}).write(tmp_path)
    loader = training_loader(tmp_path, batch_size=2, max_corrupt_share=0.0, num_workers=num_workers)
    for epoch in range(2):
        loader.sampler.set_epoch(epoch)
        with caplog.at_level(logging.WARNING):
            (batch,) = list(loader)
        assert NO_IMAGE not in batch.image_ids.tolist()
        assert not any(record.problem for record in batch.records)
        (damage,) = [record.damage for record in batch.records if record.damage]
        assert re.fullmatch(r".*shard-000000.tar, key 000000001 \(scene-0-000001.jpg\): .*JPEG.*", damage)
    assert caplog.messages == [f"using a damaged image: {damage}"]
    assert loader.problems == [damage]


@pytest.mark.parametrize("num_workers", [0, 2])
def test_too_many_unreadable_records_stop_the_run(make_set, tmp_path: Path, num_workers: int):
    folder = make_set(tmp_path / "set", (20, 20), broken=[3, 30, 31])
    message = error_of(training_loader(folder, max_corrupt_share=0.05, num_workers=num_workers))
    assert re.fullmatch(r"3 of 40 records .* data.loading.max_corrupt_share 0.05 allows .*key 0000000\d\d .*", message)


def test_messages_name_the_rank(make_set, tmp_path: Path, caplog):
    folder = make_set(tmp_path / "set", (8,), broken=range(8))
    loader = training_loader(folder, batch_size=2, rank=1, world=2, max_corrupt_share=1.0)
    list(loader)
    assert all(message.startswith("[rank: 1]") for message in caplog.messages)


@pytest.mark.parametrize("num_workers", [0, 2])
def test_a_shard_out_of_reach_stops_the_run_in_one_line(
    uneven_set: Path, tmp_path: Path, monkeypatch, num_workers: int
):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    source = f"pipe:test ! -e {tmp_path}/gone && cat {uneven_set}/index.json"
    loader = training_loader(source, num_workers=num_workers)
    (tmp_path / "gone").touch()
    assert re.fullmatch(r"pipe:.*shard-00000\d.tar: exit status 1: .*", error_of(loader))


@pytest.mark.parametrize("context", ["fork", *(pytest.param(name, marks=pytest.mark.slow) for name in SLOW_STARTS)])
def test_a_signal_to_all_processes_loses_no_batch(uneven_set: Path, context: str):
    """As SLURM sends it: the main process has its handler, the workers go on until it ends them."""
    loader = training_loader(uneven_set, num_workers=2, multiprocessing_context=context)
    iterator = iter(loader)
    batches = [next(iterator)]
    for worker in loader._iterator._workers:
        subprocess.run(["kill", "-TERM", str(worker.pid)], check=True)
        subprocess.run(["kill", "-USR1", str(worker.pid)], check=True)
    batches += list(iterator)
    worker.terminate()
    worker.join(10)
    assert worker.exitcode == 0
    assert [batch.image_ids.tolist() for batch in batches] == ids_of(training_loader(uneven_set))


@pytest.mark.parametrize(
    ("number", "advice"),
    [
        ("SEGV", "perhaps because of the image; if it happens again, leave it out and pack the data set again"),
        ("KILL", "usually because memory ran out; lower data.num_workers or data.batch_size"),
        ("BUS", "usually because memory that processes share ran out; lower data.num_workers or data.batch_size"),
    ],
)
def test_a_worker_that_dies_by_a_signal_names_its_sample(uneven_set: Path, monkeypatch, number: str, advice: str):
    decode = interpret.decode_sample

    def deadly(raw: RawSample, pixels: PixelFormat, room: np.ndarray | None) -> DecodedImage:
        image = decode(raw, pixels, room)
        if image.pixels[0, 0, 0] == 15:  # the sample's number
            os.kill(os.getpid(), getattr(signal, f"SIG{number}"))
        return image

    monkeypatch.setattr(interpret, "decode_sample", deadly)
    message = error_of(training_loader(uneven_set, num_workers=1))
    location = r".*/shard-000001.tar, key 000000015 \(images/15.png\)"
    assert re.fullmatch(
        rf"{location}: the last sample of a worker process that was killed by SIG{number}, {advice}", message
    )


def test_a_worker_that_dies_during_a_step_names_its_sample(uneven_set: Path):
    """torch raises from a handler of SIGCHLD, wherever the main process is."""
    loader = training_loader(uneven_set, num_workers=1)
    iterator = iter(loader)
    next(iterator)
    with pytest.raises(
        InputError, match=r"shard-00000\d.tar, key \d+ \(images/\d+.png\): the last sample of a .*SIGABRT"
    ):
        kill_and_wait(loader)


def kill_and_wait(loader: PlannedLoader) -> None:
    os.kill(loader._iterator._workers[0].pid, signal.SIGABRT)
    time.sleep(30)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_batches_come_in_page_locked_memory(uneven_set: Path):
    batch = next(iter(training_loader(uneven_set, num_workers=1, pin_memory=True)))
    assert batch.images.is_pinned()
    assert batch.targets.boxes.is_pinned()
    assert (batch.to(torch.device("cuda"), non_blocking=True).images.cpu() == batch.images).all()
