"""Map a function over items in several processes, with results in order."""

import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.process import BaseProcess
from typing import Any, TypeVar

from lightning_rcnn.data.worker_deaths import death_of_worker
from lightning_rcnn.data.workers import available_cores
from lightning_rcnn.errors import InputError

Item = TypeVar("Item")
Result = TypeVar("Result")

ITEMS_PER_TASK = 16
"""Enough items to amortize the communication between processes, few enough to share the end of the work evenly."""
ITEMS_PER_PROCESS = 250
"""A process takes .25 s to start, as this many images with masks take .6 s."""
TASKS_AHEAD = 4
"""Pending tasks per process: enough to keep it busy, few enough to bound the memory of pending results."""


def default_workers(num_items: int) -> int:
    """Return the number of processes worth starting, at most one per core that this process may use."""
    return max(1, min(available_cores(), num_items // ITEMS_PER_PROCESS))


def map_in_order(
    function: Callable[[Item], Result],
    items: Sequence[Item],
    workers: int,
    items_per_task: int = ITEMS_PER_TASK,
    name_of: Callable[[Item], str] = str,
) -> Generator[Result, None, None]:
    """Apply `function` to each item, in this process if `workers` is 1.

    Processes are spawned, never forked, because a fork copies locks of other threads as they are. As always with
    spawned processes, a script that calls this needs `if __name__ == "__main__":`.

    Args:
        function: function to apply; with several processes, it, the items and the results must be picklable.
        items: arguments of the function.
        workers: number of processes.
        items_per_task: number of items that a process takes at a time.
        name_of: function from an item to its name for messages.

    Raises:
        InputError: a process died; the message names the item that it was working on.
    """
    if workers == 1:
        yield from map(function, items)
        return
    context = multiprocessing.get_context("spawn")
    current_items = context.RawArray("q", [_NOTHING] * _SLOTS)
    children: set[BaseProcess] = set()
    others = set(multiprocessing.active_children())
    with ProcessPoolExecutor(workers, context, _begin, (current_items,)) as executor:
        waiting: deque[Future[list[Result]]] = deque()
        try:
            for start in range(0, len(items), items_per_task):
                waiting.append(executor.submit(_apply, function, items[start : start + items_per_task], start))
                if len(children) < workers:
                    children |= set(multiprocessing.active_children()) - others
                if len(waiting) == TASKS_AHEAD * workers:
                    yield from waiting.popleft().result()
            while waiting:
                yield from waiting.popleft().result()
        except BrokenProcessPool as error:
            executor.shutdown()  # waits until each process has ended
            raise _death(children, current_items, items, name_of) from error
        finally:
            executor.shutdown(cancel_futures=True)


_NOTHING = -1
_SLOTS = 4096
"""A process writes the number of its item into the slot of its process id modulo this; nearby ids never collide."""
_current_items: Any = None
"""In a process of `map_in_order`: slots for the numbers of the current items, in memory that outlives the process."""


def _begin(current_items: Any) -> None:
    global _current_items
    _current_items = current_items
    _exit_with_parent()


def _apply(function: Callable[[Item], Result], items: Sequence[Item], first: int) -> list[Result]:
    results = []
    for number, item in enumerate(items, first):
        _current_items[os.getpid() % _SLOTS] = number
        results.append(function(item))
    return results


def _death(
    children: set[BaseProcess], current_items: Any, items: Sequence[Item], name_of: Callable[[Item], str]
) -> InputError:
    """Return an error that names the process that died by itself; the executor has terminated the others."""
    died = [child for child in children if child.exitcode not in (None, -signal.SIGTERM)]
    if not died:
        return InputError("a worker process died; try again, with fewer --workers if memory is short")
    dead: Any = died[0]
    number = current_items[dead.pid % _SLOTS]
    name = None if number == _NOTHING else name_of(items[number])
    return death_of_worker(dead.exitcode, name, settings="--workers")


def _exit_with_parent() -> None:
    """Leave interrupts to the parent, and exit if it is killed; the executor's processes would wait forever."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    assert parent is not None

    def wait() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()
