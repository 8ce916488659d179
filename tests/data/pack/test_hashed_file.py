import hashlib
import io
import os
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from lightning_rcnn.data.pack.hashed_file import HashedFile

MEGABYTE = 1 << 20


@pytest.fixture
def thread():
    with ThreadPoolExecutor(1) as executor:
        yield executor


def test_bytes_arrive_in_order_and_are_hashed(thread):
    contents = [
        np.random.default_rng(size).bytes(size) for size in (0, 1, 5000, MEGABYTE - 1, 3 * MEGABYTE, 7, 400_000)
    ]
    contents = contents * 4
    file = io.BytesIO()
    hashed = HashedFile(file, thread)
    for number, content in enumerate(contents, start=1):
        hashed.write(content)
        assert hashed.offset == sum(map(len, contents[:number]))
    assert hashed.end().result() == hashlib.sha256(b"".join(contents)).hexdigest()
    assert file.getvalue() == b"".join(contents)


def test_files_follow_each_other_without_waiting(thread):
    first, second = io.BytesIO(), io.BytesIO()
    digests = []
    for file, content in ((first, b"one" * MEGABYTE), (second, b"two" * MEGABYTE)):
        hashed = HashedFile(file, thread)
        hashed.write(content)
        digests.append((hashed.end(), content))
    assert [digest.result() for digest, _ in digests] == [hashlib.sha256(each).hexdigest() for _, each in digests]
    assert (first.getvalue(), second.getvalue()) == (digests[0][1], digests[1][1])


def test_a_file_without_bytes_has_the_hash_of_nothing(thread):
    assert HashedFile(io.BytesIO(), thread).end().result() == hashlib.sha256().hexdigest()


def test_a_full_disk_ends_the_writing_soon(thread):
    with open("/dev/full", "wb", buffering=0) as file:
        hashed = HashedFile(file, thread)
        for _ in range(2):
            hashed.write(bytes(MEGABYTE))
        with pytest.raises(OSError, match=os.strerror(28)):
            hashed.write(bytes(MEGABYTE))
        with pytest.raises(OSError, match=os.strerror(28)):
            hashed.end().result()


def test_an_error_of_the_last_bytes_is_raised_at_the_end(thread):
    with open("/dev/full", "wb", buffering=0) as file:
        hashed = HashedFile(file, thread)
        hashed.write(b"few")
        with pytest.raises(OSError, match=os.strerror(28)):
            hashed.end().result()
