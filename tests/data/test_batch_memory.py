"""Batches that workers hand over in memory that is used again."""

import errno
import gc
import os

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils.data import DataLoader, Dataset

from lightning_rcnn.data.batch_memory import BUFFERS, SMALL_BYTES, BatchMemory, handed_over
from lightning_rcnn.data.slots import SlotLayout, allocate_slots
from lightning_rcnn.structures import Batch, ImageRecord, Targets

LAYOUT = SlotLayout(2, 3, (32, 64), torch.uint8)


class Numbered(Dataset[Batch]):
    """Batch i has the pixel i everywhere, and tells in its record whether its images are in a buffer."""

    def __init__(self, memory: BatchMemory, num_boxes: int = 8) -> None:
        self.memory, self.num_boxes = memory, num_boxes

    def __len__(self) -> int:
        return 40

    def __getitem__(self, number: int) -> Batch:
        if (unused := self.memory.take(LAYOUT.num_bytes)) is not None:
            unused.release()
        buffer = self.memory.take(LAYOUT.num_bytes)
        images = (allocate_slots(LAYOUT) if buffer is None else buffer.slots(LAYOUT)).fill_(number)
        boxes = torch.full((2, self.num_boxes, 4), float(number))
        targets = Targets(boxes, torch.ones(boxes.shape[:2], dtype=torch.int64), torch.zeros(boxes.shape[:2]).bool())
        record = ImageRecord(number, "in a buffer" if buffer else "by itself", 32, 64)
        batch = Batch(images, torch.tensor([[32, 64]] * 2), torch.tensor([number] * 2), targets, (record,) * 2)
        return handed_over(batch, batch.images, LAYOUT, buffer)


def loader(memory: BatchMemory, num_workers: int = 1, **options) -> DataLoader:
    return DataLoader(Numbered(memory, **options), batch_size=None, num_workers=num_workers)


@pytest.mark.parametrize("num_workers", [1, 2])
def test_buffers_are_used_again_and_never_while_a_part_of_a_batch_lives(num_workers):
    memory = BatchMemory(num_workers, LAYOUT.num_bytes)
    places, kept = set(), {}
    for number, batch in enumerate(loader(memory, num_workers)):
        assert (batch.images == number).all()
        assert batch.records[0].file_name == "in a buffer"
        places.add(batch.images.data_ptr())
        if number == 3:
            kept[number] = batch.images[1, :, 5:9]  # a view keeps the buffer, though the batch goes
    assert len(places) <= num_workers * BUFFERS
    for number, part in kept.items():
        assert (part == number).all()


def test_without_a_free_buffer_a_batch_gets_memory_of_its_own():
    memory = BatchMemory(1, LAYOUT.num_bytes)
    batches = list(loader(memory))
    assert [(batch.images == number).all().item() for number, batch in enumerate(batches)] == [True] * 40
    names = [batch.records[0].file_name for batch in batches]
    assert names == ["in a buffer"] * BUFFERS + ["by itself"] * (40 - BUFFERS)
    del batches
    gc.collect()
    assert next(iter(loader(memory))).records[0].file_name == "in a buffer"


def test_a_batch_too_large_for_a_buffer_gets_memory_of_its_own():
    batch = next(iter(loader(BatchMemory(1, LAYOUT.num_bytes - 1))))
    assert batch.records[0].file_name == "by itself"
    assert batch.images.shape == (2, 3, 32, 64)
    assert batch.images.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("num_boxes", [SMALL_BYTES, 8])
def test_a_tensor_of_any_strides_arrives_as_it_was(num_boxes):
    class Turned(Numbered):
        def __getitem__(self, number: int) -> Batch:
            boxes = torch.arange(2 * 4 * self.num_boxes).reshape(2, 4, self.num_boxes).mT
            targets = Targets(boxes[:, ::2], boxes[0], boxes.bool())
            images = torch.zeros(2, 3, 64, 32).mT
            batch = Batch(images, torch.zeros(2, 0), torch.zeros(2), targets, ())
            return handed_over(batch, batch.images, LAYOUT, None)

    batch = next(iter(DataLoader(Turned(BatchMemory(1, 0), num_boxes), batch_size=None, num_workers=1)))
    expected = torch.arange(2 * 4 * num_boxes).reshape(2, 4, num_boxes).mT
    assert torch.equal(batch.targets.boxes, expected[:, ::2])
    assert torch.equal(batch.targets.labels, expected[0])
    assert torch.equal(batch.targets.is_crowd, expected.bool())
    assert batch.image_sizes.shape == (2, 0)


def test_all_tensors_arrive_as_they_were_whether_as_bytes_or_not():
    large = SMALL_BYTES // (2 * 4 * 4) + 1
    for num_boxes in (8, large):
        dataset = Numbered(BatchMemory(1, LAYOUT.num_bytes), num_boxes)
        for number, batch in zip(range(3), loader(dataset.memory, num_boxes=num_boxes), strict=False):
            assert batch.targets.boxes.shape == (2, num_boxes, 4)
            assert (batch.targets.boxes == number).all()
            assert batch.targets.is_crowd.dtype == torch.bool
            assert batch.image_ids.tolist() == [number] * 2
            assert batch.images.is_contiguous(memory_format=torch.channels_last)
            batch.targets.boxes[:] = 5.0  # writable, as torch's are
            assert not batch.targets.boxes.is_shared()  # by torch, in /dev/shm, which may be small


def test_buffers_take_no_memory_before_they_are_filled():
    """A loader on a machine with many cores would take gigabytes at once, and more than a container has in /dev/shm."""
    memory = BatchMemory(8, num_bytes=1 << 36)
    assert next(iter(loader(memory))).records[0].file_name == "in a buffer"


def test_where_there_are_no_buffers_a_warning_says_so_and_all_batches_arrive(monkeypatch, caplog):
    def fail(name: str) -> int:
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(os, "memfd_create", fail)
    memory = BatchMemory(1, LAYOUT.num_bytes)
    for number, batch in enumerate(loader(memory, num_boxes=SMALL_BYTES)):
        assert batch.records[0].file_name == "by itself"
        assert (batch.images == number).all()
        assert (batch.targets.boxes == number).all()
    assert caplog.messages == [
        "no shared memory for the buffers of data-loading workers (Too many open files): each batch takes memory of "
        "its own, which is slower; the batches are the same"
    ]


@pytest.mark.parametrize("mode", [torch.inference_mode, FakeTensorMode, torch.no_grad])
def test_buffers_are_freed_whatever_torch_does_at_that_time(mode):
    """Lightning validates in inference mode, and a compiler traces with tensors that have no memory."""
    with torch.inference_mode():
        memory = BatchMemory(1, LAYOUT.num_bytes)
    for batch in loader(memory):
        assert batch.records[0].file_name == "in a buffer"
        assert not batch.images.is_inference()
        with mode():
            del batch


def test_a_process_forked_later_frees_no_buffer():
    """Workers that start while a batch waits to be collected have a copy of it, and collect that."""
    gc.disable()
    try:
        memory = BatchMemory(1, LAYOUT.num_bytes)
        batches = iter(loader(memory))
        cycle = [next(batches)]
        cycle.append(cycle)
        del cycle  # uncollected, as an exception's traceback leaves it
        next(iter(DataLoader([0], num_workers=1, worker_init_fn=lambda _: gc.collect())))
        assert memory.is_taken(0)[0]
    finally:
        gc.enable()


def test_only_workers_take_buffers():
    assert BatchMemory(1, LAYOUT.num_bytes).take(LAYOUT.num_bytes) is None
