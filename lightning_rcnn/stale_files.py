"""Reading of files that other processes replace on a network file system."""

import errno
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from lightning_rcnn.errors import PassingError

ATTEMPTS = 5
PAUSE = 1.0
"""Attempts at a file whose handle is stale, and seconds between two of them."""
_T = TypeVar("_T")


def read_past_stale(read: Callable[[], _T], path: Path | str) -> _T:
    """Read a file by its name, and again where that name led to one that is replaced.

    For some seconds a client of NFS may look for the file that had the name before; its server knows it no longer.

    Args:
        read: opens the file by its name, and reads it.
        path: the file, for messages.

    Raises:
        PassingError: it is so after several attempts.
    """
    for attempt in range(ATTEMPTS):
        if attempt:
            time.sleep(PAUSE)
        try:
            return read()
        except Exception as error:
            if not is_stale(error):
                raise
            last = error
    raise PassingError(
        f"{path}: another process has replaced it, and this machine still looks for the file before (a stale handle of "
        "its network file system): start again"
    ) from last


def is_stale(error: BaseException | None) -> bool:
    """Tell whether an error, or one that led to it, is that of a stale file handle."""
    while error is not None:
        if isinstance(error, OSError) and error.errno == errno.ESTALE:
            return True
        error = error.__cause__ or error.__context__
    return False
