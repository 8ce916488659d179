"""Which sample a loader's worker had in hand when it died, in memory that outlives the worker."""

import signal
import threading
import weakref
from collections.abc import Callable
from types import FrameType
from typing import Any, Protocol

import torch
from torch.utils.data import get_worker_info

from lightning_rcnn.errors import InputError

_NO_SAMPLE = -1
_USUAL_REASONS = {
    signal.SIGKILL: "usually because memory ran out; lower {settings}",
    signal.SIGBUS: "usually because shared memory (/dev/shm) is full; lower {settings}",
}
_OTHER_REASON = "which the image may cause; if it happens again, leave it out and pack the data set again"
LOADER_SETTINGS = "data.num_workers or data.batch_size"


class SamplesInHand:
    """The number of the last sample that each worker of a loader began to read."""

    def __init__(self, num_workers: int) -> None:
        self._numbers = torch.full((num_workers,), _NO_SAMPLE).share_memory_()

    def note(self, number: int) -> None:
        """Write down, in a worker, which sample it reads now."""
        worker = get_worker_info()
        if worker is not None:
            self._numbers[worker.id] = number

    def of_worker(self, worker: int) -> int | None:
        """The number of a worker's last sample; None before its first."""
        number = int(self._numbers[worker])
        return None if number == _NO_SAMPLE else number


class WatchedLoader(Protocol):
    """A loader that can tell which of its workers died."""

    def death(self, within: float) -> InputError | None:
        """What to raise; None where no worker dies within so many seconds."""


_watched: weakref.WeakSet[WatchedLoader] = weakref.WeakSet()


def death_of_worker(exit_code: int, sample: str | None, settings: str = LOADER_SETTINGS) -> InputError:
    """Say how a worker ended.

    Args:
        exit_code: as multiprocessing has it, the signal's number made negative.
        sample: names the last sample that it began to read; None if there is none.
        settings: by which it would need less memory.
    """
    if exit_code >= 0:
        how, reason = f"ended with status {exit_code}", _OTHER_REASON
    else:
        number = signal.Signals(-exit_code)
        how, reason = f"was killed by {number.name}", _USUAL_REASONS.get(number, _OTHER_REASON)
    reason = reason.format(settings=settings)
    if sample is None:
        return InputError(f"a worker process {how} before its first sample, {reason}")
    return InputError(f"{sample}: the last sample of a worker process that {how}, {reason}")


def watch(loader: WatchedLoader) -> None:
    """Raise the loader's error as soon as one of its workers dies, wherever the main process is, as torch does.

    torch's own error names no sample, and Lightning takes its handler away after each run.
    """
    _watched.add(loader)
    handler = signal.getsignal(signal.SIGCHLD)
    if threading.current_thread() is threading.main_thread() and not isinstance(handler, _NamingHandler):
        signal.signal(signal.SIGCHLD, _NamingHandler(handler))


def raise_death(loader: WatchedLoader, within: float) -> None:
    """Raise what became of a loader's worker, if one dies within so many seconds; the loader is of no more use then."""
    if (death := loader.death(within)) is not None:
        _watched.discard(loader)
        raise death from None


class _NamingHandler:
    """A handler of SIGCHLD that comes before the one that was there."""

    def __init__(self, handler: Callable[[int, FrameType | None], Any] | int | None) -> None:
        self._handler = handler

    def __call__(self, number: int, frame: FrameType | None) -> None:
        for loader in list(_watched):
            raise_death(loader, within=0)
        if callable(self._handler):
            self._handler(number, frame)
