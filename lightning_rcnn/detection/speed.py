"""Progress of a detection: images, images a second, time left; a bar on a terminal, else lines for logs."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from lightning_rcnn.plural import plural
from lightning_rcnn.progress import SECONDS_BETWEEN_LINES, Pace, duration


class Speed:
    """Counts images.

    Args:
        console: console to write to.
        total: number of images; None if it is unknown, as with videos.
        seconds: seconds between lines, if the console is no terminal.
    """

    def __init__(self, console: Console, total: int | None, seconds: float = SECONDS_BETWEEN_LINES) -> None:
        self.num_images = 0
        self._console, self._total = console, total
        self._seconds = 0.0
        self._start: float | None = None
        self._pace = Pace(seconds)
        self._bar: Progress | None = None

    @contextmanager
    def shown(self) -> Iterator["Speed"]:
        """Show a bar while images are counted, if the console is a terminal."""
        if not self._console.is_terminal:
            yield self
            return
        columns = (BarColumn(), TextColumn("{task.fields[text]}", markup=False), TimeElapsedColumn())
        with Progress(*columns, console=self._console, transient=True) as self._bar:
            self._task = self._bar.add_task("", total=self._total, text="")
            yield self

    @contextmanager
    def measured(self) -> Iterator[None]:
        """Count the seconds of this context, and not those between two of them."""
        self._start = time.monotonic()
        try:
            yield
        finally:
            self._seconds += time.monotonic() - self._start
            self._start = None

    def count(self) -> None:
        """Count an image."""
        self.num_images += 1
        if self._bar is not None:
            self._bar.update(self._task, advance=1, text=str(self))
        elif self._pace.is_due(is_last=self.num_images == self._total):
            self._console.print(f"Detecting: {self}", markup=False, highlight=False, soft_wrap=True)
            self._console.file.flush()

    @property
    def images_per_second(self) -> float:
        """Images a second of the measured time."""
        running = 0.0 if self._start is None else time.monotonic() - self._start
        return self.num_images / max(self._seconds + running, 1e-9)

    def __str__(self) -> str:
        rate = f"{self.images_per_second:.1f} images/s"
        if self._total is None:
            return f"{plural(self.num_images, 'image')}, {rate}"
        left = (self._total - self.num_images) / max(self.images_per_second, 1e-9)
        return f"{self.num_images} of {self._total} images, {rate}, {duration(left)} left"
