"""Memory that processes share, of which the system provides a page when it is first written.

torch takes such memory from /dev/shm, all at once. A container has 64 MB there unless it is started with more, and a
worker that finds too little loses its batch without an error. This memory has no limit but that of the machine or the
container.
"""

import errno
import mmap
import os
import weakref
from collections.abc import Callable
from multiprocessing.reduction import DupFd
from typing import Any

import numpy as np


class SharedBytes:
    """Bytes that a process shares with those that it forks, starts with this as an argument, or sends this.

    Args:
        num_bytes: size.

    Attributes:
        array: the bytes, uint8 [num_bytes], zeros at first. They live as long as any array made of it.

    Raises:
        OSError: the system has no such memory (macOS), or none of this size.
    """

    array: np.ndarray

    def __init__(self, num_bytes: int) -> None:
        if not hasattr(os, "memfd_create"):
            raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
        descriptor = os.memfd_create("lightning-rcnn")
        try:
            os.ftruncate(descriptor, num_bytes)
            self._map(descriptor, num_bytes)
        except OSError:
            os.close(descriptor)
            raise

    def _map(self, descriptor: int, num_bytes: int) -> None:
        self.array = np.frombuffer(mmap.mmap(descriptor, num_bytes), np.uint8)
        self._descriptor = descriptor
        weakref.finalize(self, os.close, descriptor).atexit = False

    def __reduce__(self) -> tuple[Callable[..., "SharedBytes"], tuple[Any, ...]]:
        return _attached, (DupFd(self._descriptor), len(self.array))


class PipedBytes:
    """Bytes of this process alone, in the place of `SharedBytes` where there is none: sent, they are copied.

    Args:
        num_bytes: size.

    Attributes:
        array: the bytes, uint8 [num_bytes].
    """

    def __init__(self, num_bytes: int) -> None:
        self.array = np.empty(num_bytes, np.uint8)


def shared_or_piped(num_bytes: int) -> SharedBytes | PipedBytes:
    """Allocate bytes that another process can be sent: shared if possible."""
    try:
        return SharedBytes(num_bytes)
    except OSError:
        return PipedBytes(num_bytes)


def _attached(handle: Any, num_bytes: int) -> SharedBytes:
    shared = SharedBytes.__new__(SharedBytes)
    shared._map(handle.detach(), num_bytes)
    return shared
