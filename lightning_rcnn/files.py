"""Files that appear under their name only when they are whole."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import torch


@contextmanager
def atomic_write(path: Path) -> Iterator[BinaryIO]:
    """A file to write beside its place, which moves there at the end.

    One name serves all attempts: what a killed process left behind is overwritten by the next. What an error leaves
    behind is removed: the disk may be full.

    Raises:
        OSError: it cannot be written; the file that was there before is as it was.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial")
    try:
        with partial.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


def atomic_save(content: Any, path: Path) -> None:
    """Write what torch can save.

    Raises:
        OSError: see `atomic_write`.
    """
    try:
        with atomic_write(path) as file:
            torch.save(content, file)
    except RuntimeError as error:
        # On closing, torch stumbles once more over a write that failed, and says nothing of why.
        if isinstance(error.__context__, OSError):
            raise error.__context__ from None
        raise
