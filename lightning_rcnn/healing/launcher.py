"""The launcher of a node: one thread (asyncio), because its processes are forks, which have only that thread.

Only names of hosts are looked up in others, as asyncio does.
"""

import asyncio
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lightning_rcnn.healing import say
from lightning_rcnn.healing.layout import Layout
from lightning_rcnn.healing.leader import Leader
from lightning_rcnn.healing.link import SILENCE, Link
from lightning_rcnn.healing.network import Address, Network, StrangerError
from lightning_rcnn.healing.node import Node
from lightning_rcnn.healing.prepared import RefusedError
from lightning_rcnn.stop_signals import SIGNALS

GATHERING = 120.0
"""Seconds that the first start waits until the launchers of all nodes answer."""
JOINING = 2 * SILENCE
"""Seconds that a new leader waits for the nodes that will follow it: each may have asked the machine that is gone just
before, and end its ranks first."""
TICK = 0.5
"""Seconds between two looks of the leader at the time."""


class Launcher:
    """Takes part in a training with the ranks of this node, and leads it if it is this one's turn.

    Args:
        addresses: addresses of all nodes' launchers.
        own: number of this node.
        token: text that only launchers of this training have.
        whole: layout on all nodes that are wanted; the size of its batch is not known yet.
        words: command of the training, and its options.
        folder: folder for the checkpoint in memory.
        every_n_steps: steps between two checkpoints there.
    """

    def __init__(
        self,
        addresses: list[Address],
        own: int,
        token: str,
        whole: Layout,
        words: Sequence[str],
        folder: Path,
        every_n_steps: int,
    ) -> None:
        self._own, self._is_alone = own, len(addresses) == 1
        self._links: dict[int, Link] = {}  # to those that follow this one
        self._network = Network(addresses, own, token, folder)
        hosts = [address.host for address in addresses]
        self._node = Node(own, hosts, token, whole, words, folder, every_n_steps, self._network.fetch)

    async def run(self) -> int:
        """Return the exit status when the training is complete, was stopped, or cannot go on."""
        loop = asyncio.get_running_loop()
        for number in SIGNALS:
            loop.add_signal_handler(number, self._node.pass_on, number)
        loop.add_signal_handler(signal.SIGINT, self._node.interrupt)
        part = loop.create_task(self._take_part())
        part.add_done_callback(self._end_by_error)
        try:
            return await self._node.ended
        except RefusedError as refused:
            return refused.status
        except (StrangerError, OSError) as error:
            say(f"error: {error}")
            return 1
        finally:
            part.cancel()
            self._network.close()
            await self._node.close()

    def _end_by_error(self, part: "asyncio.Task[None]") -> None:
        if not part.cancelled() and (error := part.exception()) is not None and not self._node.ended.done():
            self._node.ended.set_exception(error)

    async def _take_part(self) -> None:
        whole = await self._node.prepare_whole()
        loop = asyncio.get_running_loop()
        if not self._is_alone:
            await self._network.open()
        awaited, until, reason = whole.nodes, loop.time() + GATHERING, ""
        while True:
            leader = self._own if self._is_alone else await self._network.seek(awaited - 1, until)
            if leader == self._own:
                rival = await self._lead(Leader(self._own, whole, self._send, awaited, loop.time() + JOINING, reason))
                reason = f"node {rival} leads, too"
            elif await self._follow(leader):
                reason = f"node {leader} is gone"
            else:
                continue
            await self._node.stop()
            awaited, until = self._node.present - 1, loop.time()

    async def _lead(self, leader: Leader) -> int:
        """Lead until this process ends, or another node has the better right to; return its number."""
        loop = asyncio.get_running_loop()

        async def joined(number: int, link: Link) -> None:
            if (before := self._links.pop(number, None)) is not None:
                before.close()
                leader.leave(number, loop.time())
            self._links[number] = link
            async for message in link.messages():
                leader.handle(number, message, loop.time())
            if self._links.get(number) is link:
                del self._links[number]
                leader.leave(number, loop.time())

        self._network.lead(joined, lambda: len(self._links))
        self._node.report_to(lambda message: leader.handle(self._own, message, loop.time()))
        rival = loop.create_task(self._network.rival())
        try:
            while not rival.done():
                await asyncio.sleep(TICK)
                leader.tick(loop.time())
        finally:
            rival.cancel()
        say(f"node {rival.result()} leads, too: this one, which fewer follow or which comes later, follows it")
        self._network.follow()
        self._node.report = lambda message: None
        links, self._links = self._links, {}
        for link in links.values():
            link.close()
        return rival.result()

    def _send(self, node: int, message: dict[str, Any]) -> None:
        if node == self._own:
            self._node.handle(message)
        elif node in self._links:
            self._links[node].send(message)

    async def _follow(self, leader: int) -> bool:
        """Follow until the leader is lost; return whether it ever led."""
        try:
            link = await self._network.join(leader)
        except OSError:
            return False
        self._node.report_to(link.send)
        async for message in link.messages():
            self._node.handle(message)
        return True
