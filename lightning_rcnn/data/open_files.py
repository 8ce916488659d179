"""Reading of byte ranges from files that stay open."""

import contextlib
import os
import time
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

_MAX_OPEN_FILES = 32
_PAUSES = (0.05, 0.5)  # seconds before the second and the third attempt


class OpenFiles:
    """Keeps the files open that were read last.

    Reads do not use the file position, so forked workers can share the files that were open before the fork; a process
    that gets a copy by pickling opens its own.
    """

    def __init__(self) -> None:
        self._descriptors: OrderedDict[str, int] = OrderedDict()

    def read(self, name: str, find: Callable[[], Path], start: int, end: int) -> bytes:
        """Return the bytes of a file from `start` to `end`, fewer at its end; file system errors are retried.

        Args:
            name: name of the file here.
            find: returns its path; called when it is not open.
            start, end: first byte, and the byte after the last.

        Raises:
            OSError: every attempt failed.
        """
        for pause in (*_PAUSES, None):
            try:
                return _read_fully(self._descriptor(name, find), start, end)
            except OSError:
                self._close(name)
                if pause is None:
                    raise
                time.sleep(pause)
        raise AssertionError("unreachable")

    def _descriptor(self, name: str, find: Callable[[], Path]) -> int:
        if name not in self._descriptors:
            self._descriptors[name] = os.open(find(), os.O_RDONLY)
        self._descriptors.move_to_end(name)
        if len(self._descriptors) > _MAX_OPEN_FILES:
            self._close(next(iter(self._descriptors)))
        return self._descriptors[name]

    def _close(self, name: str) -> None:
        if name in self._descriptors:
            with contextlib.suppress(OSError):  # a network file system may report an earlier error here
                os.close(self._descriptors.pop(name))

    def __del__(self) -> None:
        for name in list(self._descriptors):
            self._close(name)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_descriptors": OrderedDict()}


def _read_fully(descriptor: int, start: int, end: int) -> bytes:
    """Read a range; a network file system may return it in parts."""
    chunks = []
    while start < end and (chunk := os.pread(descriptor, end - start, start)):
        chunks.append(chunk)
        start += len(chunk)
    return b"".join(chunks)
