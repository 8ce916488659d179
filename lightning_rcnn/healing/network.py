"""Connections between launchers: who leads, messages between the leader and the others, and copies of checkpoints.

All know the addresses of all. A launcher that has no leader asks the others: it follows the one that leads, and leads
itself if all before it in the list are gone. Two parts of a network that lost each other would both have a leader; the
lock of the run folder lets only one of them train.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from lightning_rcnn.checkpoints.in_memory import NAME
from lightning_rcnn.files import atomic_write_without_sync
from lightning_rcnn.healing import say
from lightning_rcnn.healing.link import Link, in_time

LOOKS = 0.1
"""Seconds between two looks for a leader."""
RIVALS = 2.0
"""Seconds between two looks of a leader for another one."""
_PIECE = 2**20


class Address(NamedTuple):
    """Where a launcher listens."""

    host: str
    port: int


class StrangerError(Exception):
    """Another program than a launcher of this training has an address."""


class Network:
    """What a launcher has to do with the others.

    Args:
        addresses: addresses of all nodes.
        own: number of this node.
        token: text that is the same on all nodes of a training, and on no others.
        folder: folder with the checkpoint in memory.

    Attributes:
        leader: number of the leading node; None while it is not known.
    """

    def __init__(self, addresses: list[Address], own: int, token: str, folder: Path) -> None:
        self._addresses, self._own, self._token, self._folder = addresses, own, token, folder
        self._server: asyncio.Server | None = None
        self.leader: int | None = None
        self._has_gathered = False
        self._strangers: set[int] = set()  # nodes whose addresses other programs have, as was said
        self._joined: Callable[[int, Link], Awaitable[None]] | None = None
        self._num_followers: Callable[[], int] = lambda: 0

    async def open(self) -> None:
        """Listen.

        Raises:
            OSError: the port is taken.
        """
        port = self._addresses[self._own].port
        try:
            self._server = await asyncio.start_server(self._serve, port=port)
        except OSError as error:
            raise OSError(f"port {port} of this node: {error.strerror}; give --nodes other ports") from error

    def close(self) -> None:
        """Listen no longer."""
        if self._server is not None:
            self._server.close()

    async def seek(self, wanted: int, until: float) -> int:
        """Return who leads, perhaps this node.

        Another program at a node's address is refused at the first search only. Later it has taken the port of a node
        that is gone, and does not end a training that runs.

        Args:
            wanted: number of other nodes that are waited for before this node leads.
            until: time of the loop until which they are.

        Raises:
            StrangerError: nobody leads yet, and another program has an address.
        """
        self.leader = None
        while True:
            answers, strangers = await self._answers()
            leaders = {node: answer["leader"] for node, answer in answers.items()}
            for node, leader in leaders.items():
                if leader == node:
                    self.leader, self._has_gathered = node, True
                    return node
            self._note_strangers(strangers)
            is_first = self._own < min(leaders, default=self._own + 1)
            is_known = all(leader is None for leader in leaders.values())  # else they have to note a loss, too
            if is_first and is_known and (len(leaders) >= wanted or asyncio.get_running_loop().time() > until):
                self._has_gathered = True
                return self._own
            await asyncio.sleep(LOOKS)

    def lead(self, joined: Callable[[int, Link], Awaitable[None]], num_followers: Callable[[], int]) -> None:
        """Let others follow this node.

        Args:
            joined: takes the number and the link of one that does, and returns when it is lost.
            num_followers: returns how many do.
        """
        self.leader, self._joined, self._num_followers = self._own, joined, num_followers

    def follow(self) -> None:
        """Let others follow this node no longer."""
        self.leader, self._joined, self._num_followers = None, None, lambda: 0

    async def rival(self) -> int:
        """Wait for another leader that more nodes follow, or as many if it is before this one; return its number.

        Two nodes that look for a leader in the same moment may both lead, and one that stood still for seconds may
        not know that the others have another leader.
        """
        while True:
            await asyncio.sleep(RIVALS)
            answers, _ = await self._answers()
            for node, answer in answers.items():
                if answer["leader"] == node and (-answer["followers"], node) < (-self._num_followers(), self._own):
                    return node

    async def join(self, leader: int) -> Link:
        """Return a link to the leader.

        Raises:
            OSError: it cannot be reached.
        """
        link = await self._connect(leader, {"want": "join", "node": self._own})
        if (await link.reply()).get("leader") != leader:
            link.close()
            raise ConnectionError("it does not lead")
        return link

    async def fetch(self, node: int) -> None:
        """Get the checkpoint in the memory of a node.

        Raises:
            OSError: it cannot be reached, has none, or this machine has no room.
        """
        link = await self._connect(node, {"want": "checkpoint"})
        try:
            size = (await link.reply()).get("size")
            if size is None:
                raise ConnectionError(f"{self._shown(node)} gives no checkpoint")
            # A sync would keep this one thread from its signs of life while a slow disk writes, and the copy is of no
            # use after a crash of this machine, which ends its launcher.
            with atomic_write_without_sync(self._folder / NAME) as file:
                while size:
                    piece = await link.read(min(size, _PIECE))
                    file.write(piece)
                    size -= len(piece)
        finally:
            link.close()

    async def _connect(self, node: int, message: dict[str, Any]) -> Link:
        link = Link(*await in_time(asyncio.open_connection(*self._addresses[node], limit=_PIECE)))
        link.send({**message, "token": self._token})
        return link

    async def _answers(self) -> tuple[dict[int, dict[str, Any]], list[int]]:
        """Return what the others say about whom they follow, and nodes whose addresses other programs have.

        As soon as one leads, the answers of the rest are not waited for: a machine that is gone gives none, and its
        followers would join too late.
        """
        loop = asyncio.get_running_loop()
        asked = {loop.create_task(self._ask(node)): node for node in range(len(self._addresses)) if node != self._own}
        answers: dict[int, dict[str, Any]] = {}
        strangers = []
        waiting = set(asked)
        try:
            while waiting and not any(node == answer["leader"] for node, answer in answers.items()):
                done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    if (answer := task.result()) is None:
                        continue
                    if "leader" in answer:
                        answers[asked[task]] = answer
                    else:
                        strangers.append(asked[task])
        finally:
            for task in waiting:
                task.cancel()
        return answers, strangers

    def _note_strangers(self, nodes: list[int]) -> None:
        """Refuse the first nodes whose addresses other programs have, or say later, once, that they are gone."""
        for node in nodes:
            who = (
                f"{self._shown(node)}: a launcher of another command, or with other configuration files, or another "
                "program listens there"
            )
            if not self._has_gathered:
                raise StrangerError(f"{who}; start all nodes alike, or give --nodes other ports")
            if node not in self._strangers:
                self._strangers.add(node)
                say(f"{who}; node {node} cannot come back before it ends")

    def _shown(self, node: int) -> str:
        return "{}:{}".format(*self._addresses[node])

    async def _ask(self, node: int) -> dict[str, Any] | None:
        """Return what a node says about whom it follows; None if it does not answer, nothing if it is no launcher."""
        try:
            link = await self._connect(node, {"want": "leader"})
            try:
                return await link.answer()
            finally:
                link.close()
        except OSError:
            return None
        except ValueError:
            return {}

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        link = Link(reader, writer)
        # When the launcher ends, asyncio cancels this, and of a cancelled connection it would print a traceback.
        with suppress(OSError, ValueError, KeyError, asyncio.CancelledError):
            wish = await link.answer()
            if wish["token"] != self._token:
                link.send({"refused": True})
            elif wish["want"] == "checkpoint":
                await link.send_file(self._folder / NAME)
            else:
                link.send({"leader": self.leader, "followers": self._num_followers()})
                if wish["want"] == "join" and self.leader == self._own and self._joined is not None:
                    await self._joined(wish["node"], link)
            await writer.drain()
        link.close()
