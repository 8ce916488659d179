"""The ranks of this node, as its launcher starts and ends them for the leader."""

import asyncio
import signal
import sys
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from lightning_rcnn.checkpoints.in_memory import NAME
from lightning_rcnn.healing import say
from lightning_rcnn.healing.copies import Copies
from lightning_rcnn.healing.layout import Layout, with_nodes
from lightning_rcnn.healing.memory import saved_step
from lightning_rcnn.healing.prepared import FAILED, PreparedRanks, RefusedError, environment_of, free_port
from lightning_rcnn.stop_signals import EXIT_STATUS, INTERRUPTED

RESERVE_AFTER = 10.0
"""Seconds from a start to the preparation for the loss of a node, which would slow it down."""
ENDING = 60.0
"""Seconds that killed ranks have to be gone; one whose driver hangs never is."""
LOOKS = 0.2
"""Seconds between two looks at the checkpoint in memory."""


class Node:
    """Follows the messages of the leader, and reports to it.

    Args:
        number: number of this node.
        hosts: names of all nodes' machines.
        token: text that only nodes of this training have.
        whole: layout on all nodes that are wanted; the size of its batch is not known yet.
        words: command of the training, and its options.
        folder: folder for the checkpoint in memory.
        every_n_steps: steps between two checkpoints there.
        fetch: gets the checkpoint of a node into the folder.

    Attributes:
        report: takes messages for the leader, see `leader.py`; `report_to` sets it.
        ended: the exit status, once it is known.
        present: number of nodes that the leader knows.
    """

    def __init__(
        self,
        number: int,
        hosts: Sequence[str],
        token: str,
        whole: Layout,
        words: Sequence[str],
        folder: Path,
        every_n_steps: int,
        fetch: Callable[[int], Awaitable[None]],
    ) -> None:
        self.number, self._hosts, self._token, self._words, self._folder = number, hosts, token, words, folder
        self._every_n_steps, self._fetch = every_n_steps, fetch
        self._whole = whole
        self._prepared: dict[Layout, tuple[PreparedRanks, asyncio.Future[int]]] = {}
        self._running: PreparedRanks | None = None
        self._first_rank = 0
        self._all_ended: asyncio.Future[None] | None = None
        self._asked: int | None = None  # the signal that asks to stop
        self._has_leader = False  # or had one
        self._queue: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._tasks: set[asyncio.Task[Any]] = set()
        self._copies = Copies(number, fetch, self._report_copy, self._keep)
        self.report: Callable[[dict[str, Any]], None] = lambda message: None
        self.ended: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self.present = 1
        self._order: list[int] = []  # nodes of the ranks that were started last
        self._keep(self._follow())
        self._keep(self._watch_memory())

    async def prepare_whole(self) -> Layout:
        """Prepare the ranks of all nodes' layout, and return it.

        Raises:
            RefusedError: the command cannot work.
        """
        _, batch_size = await self._prepare(self._whole)
        whole = self._whole._replace(batch_size=batch_size)
        self._prepared[whole] = self._prepared.pop(self._whole)
        self._whole = whole
        return whole

    def handle(self, message: dict[str, Any]) -> None:
        """Take a message of the leader."""
        if message["kind"] == "present":
            self.present = message["nodes"]
        elif message["kind"] == "signal":
            self._asked = message["number"]
            if self._running is not None:
                self._running.signal(self._asked)
        else:
            self._queue.put_nowait(message)

    def report_to(self, leader: Callable[[dict[str, Any]], None]) -> None:
        """Begin to report to a leader, by a function that takes messages for it; this node has no ranks now."""
        self.report, self._has_leader = leader, True
        self.report(self._state())

    def _state(self) -> dict[str, Any]:
        """Return the message of a node without ranks."""
        return {"kind": "stopped", "step": saved_step(self._folder), "port": free_port(), "asked": self._asked}

    async def stop(self) -> None:
        """End all ranks at once, and forget what a leader has asked for before, except the end."""
        while not self._queue.empty():
            if (message := self._queue.get_nowait())["kind"] == "end":
                self._end(message["status"])
        done = asyncio.get_running_loop().create_future()
        self._queue.put_nowait({"kind": "stop", "done": done})
        await done

    def pass_on(self, number: int) -> None:
        """Pass a signal to the ranks, which save and end, or without any here to the leader, or without one end."""
        self._asked = number
        if self._running is not None and self._running.pids:
            self._running.signal(number)
        elif self._has_leader:
            self.report({"kind": "asked", "number": number})
        else:
            self._end(EXIT_STATUS)

    def interrupt(self) -> None:
        """Note Ctrl-C, which a terminal sends to the ranks, too; without any the launcher ends by it."""
        if self._running is None or not self._running.pids:
            self._end(INTERRUPTED)

    async def close(self) -> None:
        """End all processes."""
        for task in self._tasks:
            task.cancel()
        with suppress(RefusedError):  # it has said what is wrong
            await self._stop()
        for prepared, _ in self._prepared.values():
            asyncio.get_running_loop().remove_reader(prepared.pipe.fileno())
            prepared.close()

    def _keep(self, work: Any) -> "asyncio.Task[Any]":
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._forget)
        return task

    def _forget(self, task: "asyncio.Task[Any]") -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None and not self.ended.done():
            self.ended.set_exception(error)

    def _end(self, status: int) -> None:
        if not self.ended.done():
            self.ended.set_result(status)

    async def _follow(self) -> None:
        while True:
            message = await self._queue.get()
            if message["kind"] == "start":
                await self._copies.give_up()
                await self._start(message)
            elif message["kind"] == "stop":
                await self._copies.give_up()
                await self._stop()
                if "done" in message:
                    message["done"].set_result(None)
                else:
                    self.report(self._state())
            elif message["kind"] == "copy":
                self._copies.begin(message["source"])
            elif message["kind"] == "end":
                self._end(message["status"])

    async def _stop(self) -> None:
        """End all ranks.

        Raises:
            RefusedError: the system does not end them; other nodes would wait for this one.
        """
        if self._running is None:
            return
        self._all_ended = asyncio.get_running_loop().create_future()
        self._running.end()
        try:
            async with asyncio.timeout(ENDING):
                await self._all_ended
        except TimeoutError:
            pids, self._running = ", ".join(map(str, self._running.pids.values())), None
            say(
                f"error: node {self.number} has killed its ranks (processes {pids}), and {ENDING:g} s later not all "
                "are gone; see with dmesg what its driver says"
            )
            raise RefusedError(1) from None
        self._running = None

    async def _start(self, message: dict[str, Any]) -> None:
        self._order = message["order"]
        layout = Layout(len(self._order), message["ranks"], message["batch_size"])
        place = self._order.index(self.number)
        self._first_rank = place * layout.ranks
        common = {
            "GROUP_RANK": str(place),
            "MASTER_ADDR": self._hosts[message["master"]],
            "MASTER_PORT": str(message["port"]),
        }
        try:
            if saved_step(self._folder) != message["step"]:
                await self._fetch(message["source"])
            prepared, _ = await self._prepare(layout)
            prepared.start(
                [
                    {**common, "RANK": str(self._first_rank + rank), "LOCAL_RANK": str(rank)}
                    for rank in range(layout.ranks)
                ]
            )
        except (OSError, RefusedError) as error:
            self._report_failed_start(str(error))
            return
        self._running = prepared
        if len(self._order) > 1:  # for the loss of one of them
            self._keep(self._prepare_in_reserve(with_nodes(self._whole, len(self._order) - 1)))

    def _report_copy(self) -> None:
        self.report({"kind": "copied", "step": saved_step(self._folder)})

    def _report_failed_start(self, why: str) -> None:
        say(f"node {self.number} cannot start its ranks: {why}")
        self.report({"kind": "failed"})

    async def _prepare_in_reserve(self, layout: Layout) -> None:
        await asyncio.sleep(RESERVE_AFTER)
        with suppress(RefusedError):  # it has said what is wrong
            await self._prepare(layout)

    async def _prepare(self, layout: Layout) -> tuple[PreparedRanks, int]:
        """Return a process that has done what the ranks of a layout have in common, and a rank's batch size."""
        if layout not in self._prepared:
            words = list(self._words)
            if layout.batch_size != self._whole.batch_size:
                words += ["--data.batch_size", str(layout.batch_size)]
            environment = environment_of(layout, self._token, self._folder, self._every_n_steps)
            # Alone, ranks save when the launcher is killed; else the other nodes continue from memory.
            death_signal = signal.SIGTERM if len(self._hosts) == 1 else signal.SIGKILL
            sys.stdout.flush()
            loop = asyncio.get_running_loop()
            entry = PreparedRanks(words, environment, death_signal), loop.create_future()
            self._prepared[layout] = entry
            loop.add_reader(entry[0].pipe.fileno(), self._hear, *entry)
        prepared, batch_size = self._prepared[layout]
        return prepared, await asyncio.shield(batch_size)

    def _hear(self, prepared: PreparedRanks, batch_size: "asyncio.Future[int]") -> None:
        """Take a message of a process that is prepared, or was."""
        try:
            kind, *values = prepared.pipe.recv()
        except (EOFError, OSError):
            self._note_gone(prepared, batch_size)
            return
        if kind == "prepared":
            batch_size.set_result(values[0])
        elif kind == "started":
            prepared.note_ranks(values[0])
            if self._asked is not None:
                prepared.signal(self._asked)
        elif kind == "rank":
            rank, status = values
            prepared.pids.pop(rank, None)  # another process may get its id
            self.report({"kind": "rank", "rank": self._first_rank + rank, "status": status})
        elif self._all_ended is not None and not self._all_ended.done():
            self._all_ended.set_result(None)

    def _note_gone(self, prepared: PreparedRanks, batch_size: "asyncio.Future[int]") -> None:
        """Forget a process that has ended; another one takes its place at the next start."""
        asyncio.get_running_loop().remove_reader(prepared.pipe.fileno())
        status = prepared.status()
        prepared.close()
        self._prepared = {layout: each for layout, each in self._prepared.items() if each[0] is not prepared}
        if not batch_size.done():
            batch_size.set_exception(RefusedError(status))
        if prepared is self._running:
            self._running = None
            if self._all_ended is not None and not self._all_ended.done():
                self._all_ended.set_result(None)
            elif prepared.has_ranks:
                self.report({"kind": "rank", "rank": self._first_rank, "status": status or FAILED})
            else:  # such as no memory for another process
                self._report_failed_start(f"the process that forks them ended with status {status}")

    async def _watch_memory(self) -> None:
        """Report each new checkpoint of rank 0."""
        path, seen = self._folder / NAME, 0
        while True:
            await asyncio.sleep(LOOKS)
            is_first = self._running is not None and self._order[:1] == [self.number]
            with suppress(OSError):
                time = path.stat().st_mtime_ns
                if is_first and time != seen:
                    self.report({"kind": "saved", "step": saved_step(self._folder)})
                seen = time
