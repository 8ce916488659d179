"""A function over many items in several processes, results in order."""

import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import TypeVar

from lightning_rcnn.data.workers import available_cores
from lightning_rcnn.errors import InputError

Item = TypeVar("Item")
Result = TypeVar("Result")

ITEMS_PER_TASK = 16
"""Amortises the way between the processes; small, so that the end of the work is shared evenly."""
ITEMS_PER_PROCESS = 1000
"""A process imports torch for some seconds before it reads its first image; for fewer images it is not worth it."""
TASKS_AHEAD = 4
"""Tasks under way for each process: enough to keep it busy, few enough to bound the memory for waiting results."""


def default_workers(num_items: int) -> int:
    """How many processes are worth starting, at most one for each core that this process may use."""
    return max(1, min(available_cores(), num_items // ITEMS_PER_PROCESS))


def map_in_order(
    function: Callable[[Item], Result], items: Sequence[Item], workers: int, items_per_task: int = ITEMS_PER_TASK
) -> Generator[Result, None, None]:
    """Apply `function` to each item, in this process if `workers` is 1.

    Processes are spawned, never forked, since a fork copies torch's threads in whatever state they are. As always with
    spawned processes, a script that calls this needs `if __name__ == "__main__":`.

    Raises:
        InputError: a process died.
    """
    if workers == 1:
        yield from map(function, items)
        return
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=context, initializer=_live_with_parent) as executor:
        waiting: deque[Future[list[Result]]] = deque()
        try:
            for start in range(0, len(items), items_per_task):
                waiting.append(executor.submit(_apply, function, items[start : start + items_per_task]))
                if len(waiting) == TASKS_AHEAD * workers:
                    yield from waiting.popleft().result()
            while waiting:
                yield from waiting.popleft().result()
        except BrokenProcessPool as error:
            raise InputError("a worker process died, probably for want of memory; try fewer --workers") from error
        finally:
            executor.shutdown(cancel_futures=True)


def _apply(function: Callable[[Item], Result], items: Sequence[Item]) -> list[Result]:
    return [function(item) for item in items]


def _live_with_parent() -> None:
    """Leave an interrupt to the parent, and end if it is killed; the executor's processes would wait for ever."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    assert parent is not None

    def wait() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()
