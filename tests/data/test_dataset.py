import contextlib
import json
import pickle
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from lightning_rcnn.data import batch_memory
from lightning_rcnn.data.cache import ShardCache
from lightning_rcnn.data.dataset import BatchRequest, DetectionDataset, Purpose
from lightning_rcnn.data.fetch import FetchPolicy
from lightning_rcnn.data.plan import EMPTY_SLOT
from lightning_rcnn.data.reader import RawSample, ShardReader
from lightning_rcnn.data.resize import ResizeRule
from lightning_rcnn.data.shards import read_shards
from lightning_rcnn.data.transforms import Colors, HorizontalFlip, VerticalFlip
from lightning_rcnn.errors import InputError
from lightning_rcnn.structures import NO_IMAGE, Batch

RULES = (ResizeRule(60, 120), ResizeRule(30, 60))


def open_dataset(
    folder: Path, purpose: Purpose = "evaluation", transforms: Sequence[Any] = (), rules=RULES
) -> DetectionDataset:
    reader = ShardReader(read_shards(str(folder)), ShardCache(None, 1e9, FetchPolicy()))
    return DetectionDataset(reader, rules, purpose, transforms)


def request(*samples: int, epoch: int = 0, scale: int = 0) -> BatchRequest:
    return BatchRequest(epoch, scale, (128, 128), samples)


def test_a_batch_is_what_was_packed(uneven_set: Path):
    batch = open_dataset(uneven_set)[request(7, EMPTY_SLOT, 20)]
    assert isinstance(batch, Batch)
    assert batch.image_ids.tolist() == [1007, NO_IMAGE, 1020]
    assert batch.targets is not None
    for slot, number in ((0, 7), (2, 20)):
        record = batch.records[slot]
        height, width = RULES[0].size(record.height, record.width)
        assert batch.image_sizes[slot].tolist() == [height, width]
        assert batch.images[slot, :, 0, 0].tolist() == [number, 100, 200]
        objects = number % 4
        assert len(record.annotations) == objects
        assert (batch.targets.labels[slot] > 0).sum() == objects
        scale = torch.tensor([width / record.width, height / record.height] * 2)
        for k, annotation in enumerate(record.annotations):
            expected = (torch.tensor(annotation["bbox"]) * scale).clamp(max=torch.tensor([width, height] * 2))
            assert torch.allclose(batch.targets.boxes[slot, k], expected, atol=1e-4)
            assert batch.targets.is_crowd[slot, k] == bool(annotation["iscrowd"])
    assert batch.records[1].problem == ""


def test_the_request_names_the_resize_rule(uneven_set: Path):
    dataset = open_dataset(uneven_set)
    for scale, rule in enumerate(RULES):
        batch = dataset[request(3, scale=scale)]
        record = batch.records[0]
        assert batch.image_sizes[0].tolist() == list(rule.size(record.height, record.width))


def test_what_each_purpose_carries(uneven_set: Path):
    training = open_dataset(uneven_set, "training")[request(3)]
    assert training.targets is not None
    assert training.records[0].annotations == []
    assert training.records[0].file_name == "images/3.png"
    prediction = open_dataset(uneven_set, "prediction")[request(3)]
    assert prediction.targets is None
    assert prediction.records[0].annotations == []


def test_what_is_drawn_depends_on_the_epoch_and_the_sample_but_not_on_the_batch(uneven_set: Path):
    dataset = open_dataset(uneven_set, "training", [HorizontalFlip(), VerticalFlip(), Colors(brightness=0.5)])
    together, alone = dataset[request(3, 5, 7)], dataset[request(5)]
    assert (together.images[1] == alone.images[0]).all()
    assert (together.targets.boxes[1] == alone.targets.boxes[0]).all()
    assert not (dataset[request(5, epoch=1)].images == alone.images).all()


def test_a_sample_that_occurs_twice_looks_different_each_time(uneven_set: Path):
    dataset = open_dataset(uneven_set, "training", [Colors(brightness=0.5)])
    batch = dataset[request(5, 5, 5)._replace(occurrences=(1, 0, 2))]
    assert (batch.images[1] == dataset[request(5)].images[0]).all()
    assert len({image.numpy().tobytes() for image in batch.images}) == 3


def test_the_bilinear_rule_gives_floats(uneven_set: Path):
    dataset = open_dataset(uneven_set, rules=[ResizeRule(60, 120, "bilinear")])
    assert dataset[request(1)].images.dtype == torch.float32
    assert dataset[request(EMPTY_SLOT)].images.dtype == torch.float32


def test_a_broken_image_becomes_an_empty_slot_that_is_named(make_set, tmp_path: Path):
    dataset = open_dataset(make_set(tmp_path / "broken", (4, 4), broken=[5]))
    batch = dataset[request(4, 5, 6)]
    assert batch.image_ids.tolist() == [1004, NO_IMAGE, 1006]
    assert batch.image_sizes[1].tolist() == [0, 0]
    assert not batch.images[1].any()
    assert not (batch.targets.labels[1] > 0).any()
    problem = batch.records[1].problem
    assert f"{tmp_path}/broken/shard-000001.tar, key 000000005 (images/5.png): " in problem
    assert "\n" not in problem


def test_an_image_that_outgrew_the_index_becomes_an_empty_slot(uneven_set: Path):
    small_shape = BatchRequest(0, 0, (32, 32), (1,))
    assert "its size differs from the index" in open_dataset(uneven_set)[small_shape].records[0].problem


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"width": 99}, "annotated as 99 x"),
        ({"annotations": [{"bbox": [1, 2, 3], "label": 1, "iscrowd": 0}]}, "JSON is not that of a sample"),
        ({"annotations": [{"bbox": [1, 2, 3, 4], "iscrowd": 0}]}, "JSON is not that of a sample"),
        ({"annotations": None}, "JSON is not that of a sample"),
        ({"image_id": None}, "JSON is not that of a sample"),
    ],
)
def test_a_record_that_makes_no_sense_becomes_an_empty_slot(uneven_set: Path, monkeypatch, change, message):
    dataset = open_dataset(uneven_set)
    raw = dataset.reader.read(1)
    changed = RawSample(raw.image, {**raw.content, **change}, raw.location)
    changed = RawSample(changed.image, json.loads(json.dumps(changed.content)), changed.location)
    monkeypatch.setattr(dataset.reader, "read", lambda number: changed)
    record = dataset[request(1)].records[0]
    assert message in record.problem
    assert "shard-000000.tar, key 000000001" in record.problem


def test_a_shard_that_cannot_be_fetched_is_an_error_as_a_value(uneven_set: Path, tmp_path: Path):
    """Raised in a worker it would arrive as a traceback of many lines."""
    shard_set = read_shards(f"pipe:test ! -e {tmp_path}/gone && cat {uneven_set}/index.json")
    reader = ShardReader(shard_set, ShardCache(tmp_path, 1e9, FetchPolicy(1.0, 1)))
    dataset = DetectionDataset(reader, RULES, "evaluation")
    (tmp_path / "gone").touch()
    error = dataset[request(1)]
    assert isinstance(error, InputError)
    assert "shard-000000.tar" in str(error)
    assert str(pickle.loads(pickle.dumps(error))) == str(error)


@pytest.mark.parametrize("error", [RuntimeError, InputError])
def test_a_batch_that_ends_by_an_error_gives_its_buffer_back(uneven_set: Path, monkeypatch, error: type[Exception]):
    """torch passes the error of a worker on to the main process, which may ask the worker for more."""
    monkeypatch.setattr(batch_memory, "get_worker_info", lambda: SimpleNamespace(id=0))
    dataset = open_dataset(uneven_set)
    dataset.memory = batch_memory.BatchMemory(1, 1 << 20)

    def fail(number: int) -> RawSample:
        assert dataset.memory.is_taken(0).sum() == 1
        raise error("a fault")

    monkeypatch.setattr(dataset.reader, "read", fail)
    with contextlib.suppress(RuntimeError):
        assert isinstance(dataset[request(0, 1)], InputError)
    assert not dataset.memory.is_taken(0).any()
