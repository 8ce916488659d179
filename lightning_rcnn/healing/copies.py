"""Copies of the checkpoint in another node's memory, one at a time."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from lightning_rcnn.healing import say


class Copies:
    """Copies the newest checkpoint while the training goes on.

    Two at once would mix their bytes in one partial file, and one that ends after its node has said which step it has
    would change this step.

    Args:
        number: number of this node.
        fetch: gets the checkpoint of a node into the folder.
        done: is called when a copy is whole.
        keep: starts a task, and takes care of its errors.
    """

    def __init__(
        self,
        number: int,
        fetch: Callable[[int], Awaitable[None]],
        done: Callable[[], None],
        keep: Callable[[Coroutine[Any, Any, None]], "asyncio.Task[None]"],
    ) -> None:
        self._number, self._fetch, self._done, self._keep = number, fetch, done, keep
        self._task: asyncio.Task[None] | None = None

    def begin(self, source: int) -> None:
        """Copy the checkpoint of a node, unless another copy is on its way: the next checkpoint will be newer."""
        if self._task is None or self._task.done():
            self._task = self._keep(self._copy(source))

    async def give_up(self) -> None:
        """End a copy, of which nothing stays."""
        if self._task is not None and not self._task.done():
            self._task.cancel()
            await asyncio.wait([self._task])

    async def _copy(self, source: int) -> None:
        try:
            await self._fetch(source)
        except OSError as error:
            say(f"node {self._number} has no copy of the newest checkpoint in memory: {error}")
        else:
            self._done()
