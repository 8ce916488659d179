"""What commands change in the process that runs them, and tests give back."""

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from lightning_rcnn import stop_signals

_HANDLED = (signal.SIGUSR1, signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT)


@contextmanager
def restored() -> Iterator[None]:
    """Give back handlers of signals, signals that were noted, and the paths of modules."""
    handlers, path = [signal.getsignal(number) for number in _HANDLED], sys.path.copy()
    try:
        yield
    finally:
        stop_signals.forget()
        for number, handler in zip(_HANDLED, handlers, strict=True):
            signal.signal(number, handler)
        sys.path[:] = path
