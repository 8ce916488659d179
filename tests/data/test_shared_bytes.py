import gc
import multiprocessing
import os
import pickle
from multiprocessing.reduction import ForkingPickler

import pytest

from lightning_rcnn.data.shared_bytes import PipedBytes, SharedBytes, shared_or_piped

TERABYTE = 1 << 40
ADDRESSES = 1 << 60
"""More bytes than a processor has addresses for."""


def num_open_files() -> int:
    gc.collect()
    return len(os.listdir("/proc/self/fd"))


def test_no_memory_is_taken_before_it_is_written():
    """torch's shared memory of this size fails on any machine."""
    shared = SharedBytes(TERABYTE)
    shared.array[TERABYTE - 1] = 7
    assert shared.array[:4096].sum() == 0
    assert os.fstat(shared._descriptor).st_blocks * 512 < 1 << 22  # a page, which may be a huge one


def test_a_forked_process_and_a_receiver_write_into_the_same_memory():
    shared = SharedBytes(10_000)
    worker = multiprocessing.get_context("fork").Process(target=shared.array.__setitem__, args=(0, 1))
    worker.start()
    worker.join()
    received = pickle.loads(ForkingPickler.dumps(shared))
    received.array[9_999] = 2
    assert [shared.array[0], shared.array[9_999], shared.array.sum()] == [1, 2, 3]


def test_an_array_keeps_the_memory_and_nothing_keeps_it_longer():
    before = num_open_files()
    shared = SharedBytes(5)
    part = shared.array[1:3]
    received = pickle.loads(ForkingPickler.dumps(shared))
    received.array[:] = 9
    del shared, received
    assert part.tolist() == [9, 9]
    del part
    assert num_open_files() <= before + 1  # the socket over which Python sends descriptors


def test_where_there_is_no_shared_memory_bytes_are_copied(monkeypatch: pytest.MonkeyPatch):
    before = num_open_files()
    with pytest.raises(OSError, match="memory"):
        SharedBytes(ADDRESSES)
    assert num_open_files() == before
    monkeypatch.delattr(os, "memfd_create")
    piped = shared_or_piped(3)
    assert isinstance(piped, PipedBytes)
    piped.array[:] = 4
    assert pickle.loads(ForkingPickler.dumps(piped)).array.tolist() == [4, 4, 4]
