"""Read the items of a source side by side, with results in order: in threads where they suffice, else in processes."""

from collections.abc import Callable, Generator
from typing import Any, TypeVar

from lightning_rcnn.data.pack.parallel import default_workers, map_in_order
from lightning_rcnn.data.pack.source import Source
from lightning_rcnn.data.pack.threads import map_in_threads
from lightning_rcnn.data.workers import available_cores

Result = TypeVar("Result")

ENOUGH_FOR_PROCESSES = 10_000
"""Images from which more than `MAX_THREADS` workers are processes: each takes .25 s of a core to start."""
MAX_THREADS = 4
"""Workers up to which threads are as fast as processes: .3 of 1.5 ms for a JPEG with boxes need Python's lock."""


def read_side_by_side(
    source: Source, read: Callable[[Any], Result], workers: int | None, *, decodes: bool
) -> Generator[Result, None, None]:
    """Read each item of a source.

    Args:
        source: source.
        read: function that reads an item; with several workers, threads call it at the same time, or other processes.
        workers: number of items that are read at the same time; 1 for this thread alone. By default one per core, or
            as many processes as are worth starting.
        decodes: whether reading decodes the images. If not, most of it needs Python's lock, and threads slow it down.
    """
    num_items = len(source.items)
    number = workers or (available_cores() if decodes else 1)
    if source.needs_python or (number > MAX_THREADS and num_items >= ENOUGH_FOR_PROCESSES):
        return map_in_order(read, source.items, workers or default_workers(num_items), name_of=source.name_of)
    if number == 1:
        return (read(item) for item in source.items)
    return map_in_threads(read, source.items, number)
