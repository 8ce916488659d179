"""Say how a worker died, and at which sample, as soon as it dies."""

import signal
import threading
import weakref
from collections.abc import Callable
from types import FrameType
from typing import Any, Protocol

from lightning_rcnn.errors import InputError

_USUAL_REASONS = {
    signal.SIGKILL: "usually because memory ran out; lower {settings}",
    signal.SIGBUS: "usually because memory that processes share ran out; lower {settings}",
}
_OTHER_REASON = "perhaps because of the image; if it happens again, leave it out and pack the data set again"
LOADER_SETTINGS = "data.num_workers or data.batch_size"


class WatchedLoader(Protocol):
    """A loader that can tell which of its workers died."""

    def death(self, within: float) -> InputError | None:
        """Return the error to raise; None if no worker dies within this many seconds."""


_watched: weakref.WeakSet[WatchedLoader] = weakref.WeakSet()


def death_of_worker(exit_code: int, sample: str | None, settings: str = LOADER_SETTINGS) -> InputError:
    """Return an error that says how a worker died.

    Args:
        exit_code: exit code from multiprocessing; the negative signal number after a signal.
        sample: name of the last sample that the worker began to read; None if there is none.
        settings: names of the settings to lower if memory runs out.
    """
    if exit_code >= 0:
        death, reason = f"ended with status {exit_code}", _OTHER_REASON
    else:
        number = signal.Signals(-exit_code)
        death, reason = f"was killed by {number.name}", _USUAL_REASONS.get(number, _OTHER_REASON)
    reason = reason.format(settings=settings)
    if sample is None:
        return InputError(f"a worker process {death} before its first sample, {reason}")
    return InputError(f"{sample}: the last sample of a worker process that {death}, {reason}")


def watch(loader: WatchedLoader) -> None:
    """Raise the loader's error in the main process as soon as one of its workers dies.

    torch does the same, but its error names no sample, and Lightning removes torch's handler after each run.
    """
    _watched.add(loader)
    handler = signal.getsignal(signal.SIGCHLD)
    if threading.current_thread() is threading.main_thread() and not isinstance(handler, _NamingHandler):
        signal.signal(signal.SIGCHLD, _NamingHandler(handler))


def raise_death(loader: WatchedLoader, within: float) -> None:
    """Raise the loader's error if one of its workers dies within this many seconds; the loader cannot be used again."""
    if (death := loader.death(within)) is not None:
        _watched.discard(loader)
        raise death from None


class _NamingHandler:
    """A handler of SIGCHLD that runs before the previous handler."""

    def __init__(self, handler: Callable[[int, FrameType | None], Any] | int | None) -> None:
        self._handler = handler

    def __call__(self, number: int, frame: FrameType | None) -> None:
        for loader in list(_watched):
            raise_death(loader, within=0)
        if callable(self._handler):
            self._handler(number, frame)
