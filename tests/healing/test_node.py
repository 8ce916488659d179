"""A node that follows messages, without processes and without a network."""

import asyncio
import signal
from multiprocessing import Pipe

import pytest

from lightning_rcnn.checkpoints.in_memory import NAME
from lightning_rcnn.files import atomic_write
from lightning_rcnn.healing import node as node_module
from lightning_rcnn.healing.layout import Layout
from lightning_rcnn.healing.node import Node
from lightning_rcnn.healing.prepared import FAILED, PreparedRanks, RefusedError
from lightning_rcnn.stop_signals import EXIT_STATUS


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


class Ranks:
    """Prepared ranks that do nothing."""

    def __init__(self):
        self.pipe, self.other = Pipe()
        self.pids, self.has_ranks = {0: 11, 1: 12}, True

    def start(self, environments):
        raise BrokenPipeError("their process is gone")

    def note_ranks(self, pids):
        self.pids, self.has_ranks = pids, True

    signal = PreparedRanks.signal

    def end(self):
        pass

    def status(self):
        return FAILED

    def close(self):
        self.pipe.close()


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


def test_a_copy_that_takes_longer_than_the_next_checkpoint_is_finished_first(follow, tmp_path, monkeypatch):
    """Two at once would write one partial file, whose bytes would be those of both."""
    monkeypatch.setattr(node_module, "saved_step", lambda folder: 7)

    async def check(node, copies):
        said = []
        node.report = said.append
        for source in (3, 4):
            node.handle({"kind": "copy", "source": source})
            await turns()
        assert said == []
        copies.may_end.set()
        await turns()
        assert said == [{"kind": "copied", "step": 7}]
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


def test_ranks_that_the_system_does_not_end_end_the_launcher(follow, monkeypatch, capsys):
    """One whose driver hangs: else a leader would wait for this node without end."""
    monkeypatch.setattr(node_module, "ENDING", 0.05)

    async def check(node, copies):
        node._running = Ranks()
        node.handle({"kind": "stop"})
        with pytest.raises(RefusedError) as refused:
            await node.ended
        assert refused.value.status == 1

    follow(check)
    assert (
        "node 1 has killed its ranks (processes 11, 12), and 0.05 s later not all are gone" in capsys.readouterr().err
    )


def test_ranks_whose_process_is_gone_fail_to_start_and_the_launcher_stays(follow):
    async def check(node, copies):
        said, layout = [], Layout(2, 1, 2)
        node.report = said.append
        prepared = asyncio.get_running_loop().create_future()
        prepared.set_result(2)
        node._prepared[layout] = Ranks(), prepared
        node.handle({"kind": "start", "order": [0, 1], "ranks": 1, "batch_size": 2, "step": -1, "master": 0, "port": 1})
        while not said:
            await asyncio.sleep(0)
        assert said == [{"kind": "failed"}]
        assert not node.ended.done()

    follow(check)


@pytest.mark.parametrize(
    ("has_ranks", "message"), [(True, {"kind": "rank", "rank": 0, "status": FAILED}), (False, {"kind": "failed"})]
)
def test_a_process_that_ends_before_it_has_forked_ranks_has_failed_to_start_them(follow, has_ranks, message):
    async def check(node, copies):
        said = []
        node.report = said.append
        node._running = ranks = Ranks()
        ranks.has_ranks = has_ranks
        ranks.other.close()
        node._hear(ranks, asyncio.get_running_loop().create_future())
        assert said == [message]

    follow(check)


def test_a_node_without_ranks_leaves_a_signal_to_its_leader_and_without_one_ends(follow):
    async def check(node, copies):
        said = []
        node.report_to(said.append)
        assert (said[0]["kind"], said[0]["asked"]) == ("stopped", None)
        node.pass_on(signal.SIGTERM)
        assert said[1:] == [{"kind": "asked", "number": signal.SIGTERM}]
        node.report_to(said.append)  # another leader, which has not heard of it
        assert said[2]["asked"] == signal.SIGTERM
        assert not node.ended.done()

    follow(check)

    async def check_alone(node, copies):
        node.pass_on(signal.SIGTERM)
        assert await node.ended == EXIT_STATUS

    follow(check_alone)


def test_ranks_whose_start_is_on_its_way_get_the_signal_of_the_leader(follow, monkeypatch):
    sent = []
    monkeypatch.setattr("os.kill", lambda *words: sent.append(words))

    async def check(node, copies):
        node._running = ranks = Ranks()
        ranks.pids = {}
        node.handle({"kind": "signal", "number": signal.SIGTERM})
        assert sent == []
        ranks.other.send(("started", {0: 21}))
        node._hear(ranks, asyncio.get_running_loop().create_future())
        assert sent == [(21, signal.SIGTERM)]
        node._running = None

    follow(check)


def test_a_signal_reaches_no_process_that_got_the_id_of_a_rank_that_has_ended(follow, monkeypatch):
    sent = []
    monkeypatch.setattr("os.kill", lambda *words: sent.append(words))

    async def check(node, copies):
        node._running = Ranks()
        for message in (("started", {0: 21, 1: 22}), ("rank", 0, 0)):
            node._running.other.send(message)
            node._hear(node._running, asyncio.get_running_loop().create_future())
        node.pass_on(signal.SIGTERM)
        node._running = None

    follow(check)
    assert sent == [(22, signal.SIGTERM)]
