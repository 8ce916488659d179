"""Files on a full disk: `/dev/full` is one on Linux."""

import errno
from pathlib import Path

import pytest

from lightning_rcnn.files import atomic_write, naming_full_disk


def full_disk():
    raise OSError(errno.ENOSPC, "No space left on device")


def fail_in(path):
    with atomic_write(path) as file:
        file.write(b"half")
        full_disk()


def test_a_full_disk_names_the_file():
    with (
        pytest.raises(OSError, match="No space") as raised,
        naming_full_disk(Path("last.ckpt")),
        Path("/dev/full").open("wb") as full,
    ):
        full.write(b"x")
    assert (raised.value.errno, raised.value.filename) == (errno.ENOSPC, "last.ckpt")


def test_other_errors_stay_as_they_are():
    with pytest.raises(ConnectionError) as raised, naming_full_disk(Path("last.ckpt")):
        raise ConnectionError("no answer")
    assert raised.value.filename is None


def test_a_file_that_is_there_survives_a_write_that_fails(tmp_path):
    path = tmp_path / "last.ckpt"
    path.write_text("before")
    with pytest.raises(OSError, match=str(path)):
        fail_in(path)
    assert path.read_text() == "before"
    assert list(tmp_path.iterdir()) == [path]
