"""A node that follows messages, without processes and without a network."""

import asyncio

import pytest

from lightning_rcnn.checkpoints.in_memory import NAME
from lightning_rcnn.files import atomic_write
from lightning_rcnn.healing.layout import Layout
from lightning_rcnn.healing.node import Node


class Copies:
    """Copies of a checkpoint that take as long as a test wants, one piece after the other."""

    def __init__(self, folder):
        self._path = folder / NAME
        self.sources = []
        self.may_end = asyncio.Event()

    async def fetch(self, source):
        self.sources.append(source)
        with atomic_write(self._path) as file:
            for _ in range(3):
                file.write(bytes([source]))
                file.flush()
                await self.may_end.wait()


@pytest.fixture
def follow(tmp_path):
    """Runs `check(node, copies)` with a node that follows."""

    def run(check):
        async def checked():
            copies = Copies(tmp_path)
            node = Node(1, ["a", "b"], "token", Layout(2, 1, 0), ["fit"], tmp_path, 5, copies.fetch)
            try:
                await asyncio.wait_for(check(node, copies), 10)
            finally:
                await node.close()

        asyncio.run(checked())

    return run


async def turns():
    for _ in range(5):
        await asyncio.sleep(0)


def test_a_copy_that_takes_longer_than_the_next_checkpoint_is_finished_first(follow, tmp_path):
    """Two at once would write one partial file, whose bytes would be those of both."""

    async def check(node, copies):
        for source in (3, 4):
            node.handle({"kind": "copy", "source": source})
            await turns()
        copies.may_end.set()
        await turns()
        assert (tmp_path / NAME).read_bytes() == bytes([3, 3, 3])
        node.handle({"kind": "copy", "source": 5})
        await turns()
        assert (tmp_path / NAME).read_bytes() == bytes([5, 5, 5])
        assert copies.sources == [3, 5]

    follow(check)


def test_a_stop_gives_a_copy_up_before_the_node_states_its_step(follow, tmp_path):
    async def check(node, copies):
        said = []
        node.report = said.append
        node.handle({"kind": "copy", "source": 3})
        await turns()
        node.handle({"kind": "stop"})
        while not said:
            await asyncio.sleep(0)
        copies.may_end.set()
        await turns()
        assert (said[0]["kind"], said[0]["step"]) == ("stopped", -1)
        assert list(tmp_path.iterdir()) == []

    follow(check)
