"""Writing of files that appear under their name only when they are whole."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

FULL = (errno.ENOSPC, errno.EDQUOT)
"""Numbers of the errors of a disk without room: its own, and that of a quota."""


@contextmanager
def atomic_write(path: Path) -> Iterator[BinaryIO]:
    """Open a partial file beside `path` for writing; at the end, sync it to disk and rename it to `path`.

    Args:
        path: final path of the file.

    Raises:
        OSError: see `atomic_write_without_sync`.
    """
    with atomic_write_without_sync(path) as file:
        yield file
        file.flush()
        os.fsync(file.fileno())


@contextmanager
def atomic_write_without_sync(path: Path) -> Iterator[BinaryIO]:
    """Open a partial file beside `path` for writing; at the end, rename it to `path`, for processes of this machine.

    They see the whole file at once. What waits for no disk does not outlive a crash of the machine.

    The name of the partial file is fixed, so that the next attempt overwrites what a killed process left. An error
    removes it: the disk may be full. The folder is created.

    Args:
        path: final path of the file.

    Raises:
        OSError: the file cannot be written; an older file at `path` is untouched.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial")
    try:
        with naming_full_disk(path), partial.open("wb") as file:
            yield file
        partial.replace(path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


@contextmanager
def naming_full_disk(path: Path) -> Iterator[None]:
    """Name a file in the error of a full disk, which has no name if it was opened before."""
    try:
        yield
    except OSError as error:
        if error.errno in FULL and error.filename is None:
            error.filename = str(path)
        raise


def atomic_save(content: Any, path: Path) -> None:
    """Save an object with torch, atomically.

    Args:
        content: anything that `torch.save` takes.
        path: final path of the file.

    Raises:
        OSError: see `atomic_write`.
    """
    import torch  # here, because processes that only write bytes need not wait for it

    try:
        with atomic_write(path) as file:
            torch.save(content, file)
    except RuntimeError as error:
        # Closing the file after a failed write raises a second error in torch, without the cause.
        if isinstance(error.__context__, OSError):
            raise error.__context__ from None
        raise
