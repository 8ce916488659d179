"""A function over many items in several processes, results in order."""

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
"""Amortises the way between the processes; small, so that the end of the work is shared evenly."""
ITEMS_PER_PROCESS = 1000
"""A process imports torch for some seconds before it reads its first image; for fewer images it is not worth it."""
TASKS_AHEAD = 4
"""Tasks under way for each process: enough to keep it busy, few enough to bound the memory for waiting results."""


def default_workers(num_items: int) -> int:
    """How many processes are worth starting, at most one for each core that this process may use."""
    return max(1, min(available_cores(), num_items // ITEMS_PER_PROCESS))


def map_in_order(
    function: Callable[[Item], Result],
    items: Sequence[Item],
    workers: int,
    items_per_task: int = ITEMS_PER_TASK,
    name_of: Callable[[Item], str] = str,
) -> Generator[Result, None, None]:
    """Apply `function` to each item, in this process if `workers` is 1.

    Processes are spawned, never forked, since a fork copies torch's threads in whatever state they are. As always with
    spawned processes, a script that calls this needs `if __name__ == "__main__":`.

    Args:
        function: picklable, as are items and results, where there are several processes.
        items: what it is applied to.
        workers: processes.
        items_per_task: which one process takes at a time.
        name_of: an item, for people.

    Raises:
        InputError: a process died; the message names the item that it had in hand.
    """
    if workers == 1:
        yield from map(function, items)
        return
    context = multiprocessing.get_context("spawn")
    in_hand = context.RawArray("q", [_NOTHING] * _SLOTS)
    children: set[BaseProcess] = set()
    others = set(multiprocessing.active_children())
    with ProcessPoolExecutor(workers, context, _begin, (in_hand,)) as executor:
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
            executor.shutdown()  # after it, each process has ended
            raise _death(children, in_hand, items, name_of) from error
        finally:
            executor.shutdown(cancel_futures=True)


_NOTHING = -1
_SLOTS = 4096
"""A process writes the number of its item where its id, modulo this, says; ids that are near each other differ."""
_in_hand: Any = None
"""In a process of `map_in_order`: where it writes the number of its item, in memory that outlives it."""


def _begin(in_hand: Any) -> None:
    global _in_hand
    _in_hand = in_hand
    _live_with_parent()


def _apply(function: Callable[[Item], Result], items: Sequence[Item], first: int) -> list[Result]:
    results = []
    for number, item in enumerate(items, first):
        _in_hand[os.getpid() % _SLOTS] = number
        results.append(function(item))
    return results


def _death(
    children: set[BaseProcess], in_hand: Any, items: Sequence[Item], name_of: Callable[[Item], str]
) -> InputError:
    """Say which process ended by itself; those that were left, the executor has terminated."""
    by_itself = [child for child in children if child.exitcode not in (None, -signal.SIGTERM)]
    if not by_itself:
        return InputError("a worker process died; try again, with fewer --workers if memory is short")
    dead: Any = by_itself[0]
    number = in_hand[dead.pid % _SLOTS]
    name = None if number == _NOTHING else name_of(items[number])
    return death_of_worker(dead.exitcode, name, settings="--workers")


def _live_with_parent() -> None:
    """Leave an interrupt to the parent, and end if it is killed; the executor's processes would wait for ever."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    assert parent is not None

    def wait() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()
