"""Batches of images whose network inputs have one size, from a stream of images of many sizes."""

from collections.abc import Callable, Hashable, Iterable, Iterator
from typing import TypeVar

Item = TypeVar("Item")

_BATCHES_WAITING = 8
"""Batches' worth of images that may wait for others of their size, so that memory and delays stay bounded."""


def in_batches(items: Iterable[Item], size_of: Callable[[Item], Hashable], batch_size: int) -> Iterator[list[Item]]:
    """Group a stream by size.

    Args:
        items: items in order.
        size_of: function that returns what the items of a batch have in common.
        batch_size: limit of a batch.

    Yields:
        Batches of at most `batch_size` items of one size, in order within it. If too many items wait, the batch of the
        oldest one goes although it is not full.
    """
    waiting: dict[Hashable, list[Item]] = {}  # the group whose first item is oldest comes first
    count = 0
    for item in items:
        size = size_of(item)
        batch = waiting.setdefault(size, [])
        batch.append(item)
        count += 1
        if len(batch) == batch_size:
            full = size
        elif count > _BATCHES_WAITING * batch_size:
            full = next(iter(waiting))
        else:
            continue
        count -= len(waiting[full])
        yield waiting.pop(full)
    yield from waiting.values()
