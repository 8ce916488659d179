"""Map a function over items in several threads, with results in order."""

from collections import deque
from collections.abc import Callable, Generator, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

ITEMS_PER_TASK = 8
"""Enough items to amortize the handing over, few enough to bound the memory of pending results."""
TASKS_AHEAD = 2
"""Pending tasks per thread: one at work, and one so that no thread waits while a result is written."""


def map_in_threads(
    function: Callable[[Item], Result], items: Iterable[Item], threads: int
) -> Generator[Result, None, None]:
    """Apply `function` to each item in several threads, which decode, hash and read files side by side.

    The error of the first bad item in order is raised, whichever thread is first.

    Args:
        function: function to apply, from several threads at a time.
        items: arguments of the function.
        threads: number of threads.
    """
    remaining = iter(items)
    with ThreadPoolExecutor(threads) as executor:
        waiting: deque[Future[list[Result]]] = deque()
        try:
            while task := list(islice(remaining, ITEMS_PER_TASK)):
                waiting.append(executor.submit(_apply, function, task))
                if len(waiting) == TASKS_AHEAD * threads:
                    yield from waiting.popleft().result()
            while waiting:
                yield from waiting.popleft().result()
        finally:
            executor.shutdown(cancel_futures=True)


def _apply(function: Callable[[Item], Result], items: Sequence[Item]) -> list[Result]:
    return [function(item) for item in items]
