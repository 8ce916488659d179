import hashlib
import io
import os
import threading

import numpy as np
import pytest

from lightning_rcnn.data.pack.hashed_file import HashedFile

MEGABYTE = 1 << 20


def test_bytes_arrive_in_order_and_are_hashed():
    contents = [
        np.random.default_rng(size).bytes(size) for size in (0, 1, 5000, MEGABYTE - 1, 3 * MEGABYTE, 7, 400_000)
    ]
    contents = contents * 4
    file = io.BytesIO()
    hashed = HashedFile(file)
    for number, content in enumerate(contents, start=1):
        hashed.write(content)
        assert hashed.offset == sum(map(len, contents[:number]))
    assert hashed.end() == hashlib.sha256(b"".join(contents)).hexdigest()
    assert file.getvalue() == b"".join(contents)


def test_a_file_without_bytes_has_the_hash_of_nothing():
    assert HashedFile(io.BytesIO()).end() == hashlib.sha256().hexdigest()


def test_a_full_disk_ends_the_writing_soon_and_leaves_no_thread():
    before = threading.active_count()
    with open("/dev/full", "wb", buffering=0) as file:
        hashed = HashedFile(file)
        for _ in range(2):
            hashed.write(bytes(MEGABYTE))
        with pytest.raises(OSError, match=os.strerror(28)):
            hashed.write(bytes(MEGABYTE))
        with pytest.raises(OSError, match=os.strerror(28)):
            hashed.end()
    assert threading.active_count() == before


def test_an_error_of_the_last_bytes_is_raised_at_the_end():
    with open("/dev/full", "wb", buffering=0) as file:
        hashed = HashedFile(file)
        hashed.write(b"few")
        with pytest.raises(OSError, match=os.strerror(28)):
            hashed.end()
