"""Progress of a long command: a bar on a terminal, else lines of text for logs and pipes."""

import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

Item = TypeVar("Item")

SECONDS_BETWEEN_LINES = 30.0
_SPEED_ESTIMATE_SECONDS = 600.0
"""Seconds of history for the estimate: items may take seconds, and a short history would jump."""


class Pace:
    """Tells when a line is due: at the first item, and every `seconds` seconds."""

    def __init__(self, seconds: float = SECONDS_BETWEEN_LINES) -> None:
        self._seconds = seconds
        self._start = self._last = time.monotonic()
        self._is_first = True

    def is_due(self, is_last: bool = False) -> bool:
        """Tell whether to write a line now, and count it as written."""
        now = time.monotonic()
        if not (self._is_first or is_last or now - self._last >= self._seconds):
            return False
        self._is_first, self._last = False, now
        return True

    def seconds_left(self, done: int, total: float) -> float:
        """Estimate the seconds left from the pace since the start."""
        return (time.monotonic() - self._start) * (total - done) / max(done, 1)


def track(
    items: Iterable[Item],
    description: str,
    console: Console,
    total: int | None = None,
    seconds: float = SECONDS_BETWEEN_LINES,
) -> Iterator[Item]:
    """Yield the items while the console shows how many are done.

    Args:
        items: items to process.
        description: name of the work.
        console: console to write to; a quiet one shows nothing.
        total: number of items, if `items` has no length.
        seconds: seconds between lines, if the console is not a terminal.
    """
    count = len(items) if isinstance(items, Sequence) else total
    assert count is not None
    if console.is_terminal or console.quiet:
        columns = (BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn())
        with Progress(
            TextColumn("{task.description}", markup=False),
            *columns,
            console=console,
            transient=True,
            disable=console.quiet,
            speed_estimate_period=_SPEED_ESTIMATE_SECONDS,
        ) as bar:
            yield from bar.track(items, count, description=description)
        return
    pace = Pace(seconds)
    for done, item in enumerate(items, start=1):
        yield item
        if pace.is_due(is_last=done == count):
            _write(f"{description}: {done} of {count}, {duration(pace.seconds_left(done, count))} left", console)


@contextmanager
def at_work(description: str, console: Console, seconds: float = SECONDS_BETWEEN_LINES) -> Iterator[None]:
    """Show that work without countable steps is running.

    Args:
        description: name of the work.
        console: console to write to; a quiet one shows nothing.
        seconds: seconds between lines, if the console is not a terminal.
    """
    if console.is_terminal or console.quiet:
        with console.status(description):
            yield
        return
    start, is_done = time.monotonic(), threading.Event()

    def write_lines() -> None:
        while not is_done.wait(seconds):
            _write(f"{description}: {duration(time.monotonic() - start)} so far", console)

    writer = threading.Thread(target=write_lines, daemon=True)
    writer.start()
    try:
        yield
    finally:
        is_done.set()
        writer.join()


def _write(line: str, console: Console) -> None:
    console.print(line, markup=False, highlight=False, soft_wrap=True)
    console.file.flush()  # a pipe would buffer kilobytes


def duration(seconds: float) -> str:
    """Format seconds as 1:02:03 or 2:03."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
