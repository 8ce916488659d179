"""How far a long command is: a bar on a terminal, else a whole line now and then, which logs and pipes can show."""

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
"""An item may take seconds: an estimate from the last half minute would jump about."""


class Pace:
    """Says when a line is due: with the first item, and whenever so many seconds have passed."""

    def __init__(self, seconds: float = SECONDS_BETWEEN_LINES) -> None:
        self._seconds = seconds
        self._start = self._last = time.monotonic()
        self._is_first = True

    def is_due(self, is_last: bool = False) -> bool:
        """Whether to write a line now; it counts as written."""
        now = time.monotonic()
        if not (self._is_first or is_last or now - self._last >= self._seconds):
            return False
        self._is_first, self._last = False, now
        return True

    def seconds_left(self, done: int, total: float) -> float:
        """At the pace since the beginning."""
        return (time.monotonic() - self._start) * (total - done) / max(done, 1)


def track(
    items: Iterable[Item],
    description: str,
    console: Console,
    total: int | None = None,
    seconds: float = SECONDS_BETWEEN_LINES,
) -> Iterator[Item]:
    """The items, while the console shows how many are done.

    Args:
        items: what is worked through.
        description: of the work.
        console: where to show it; nothing is shown on a quiet one.
        total: number of items, where they cannot be counted.
        seconds: between lines, where the console is no terminal.
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
    """Show that work goes on which has no steps to count, while the context lasts.

    Args:
        description: of the work.
        console: where to show it; nothing is shown on a quiet one.
        seconds: between lines, where the console is no terminal.
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
    console.file.flush()  # a pipe would keep it until kilobytes have come together


def duration(seconds: float) -> str:
    """Hours, minutes and seconds as 1:02:03 or 2:03."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
