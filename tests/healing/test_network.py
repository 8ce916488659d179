"""Launchers that find their leader, lose it, and copy checkpoints, on the loopback device."""

import asyncio
import socket

import pytest

from lightning_rcnn.checkpoints.in_memory import NAME
from lightning_rcnn.healing import link as link_module
from lightning_rcnn.healing import network as network_module
from lightning_rcnn.healing.network import Address, Network, StrangerError


@pytest.fixture
def addresses():
    with socket.socket() as first, socket.socket() as second, socket.socket() as third:
        for each in (first, second, third):
            each.bind(("127.0.0.1", 0))
        return [Address(*each.getsockname()) for each in (first, second, third)]


@pytest.fixture
def networks(addresses, tmp_path):
    found = []
    for own in range(3):
        (tmp_path / str(own)).mkdir()
        found.append(Network(addresses, own, "token", tmp_path / str(own)))
    return found


async def nobody(number, link):
    raise AssertionError


def later(seconds):
    return asyncio.get_running_loop().time() + seconds


def test_the_first_node_leads_when_all_are_here(networks):
    async def run():
        for each in networks:
            await each.open()
        first = await networks[0].seek(2, later(60))
        networks[0].lead(nobody, int)
        leaders = [first, *await asyncio.gather(*(each.seek(2, later(60)) for each in networks[1:]))]
        for each in networks:
            each.close()
        return leaders

    assert asyncio.run(run()) == [0, 0, 0]


def test_without_the_others_a_node_waits_and_then_leads(networks):
    async def run():
        await networks[1].open()
        start = asyncio.get_running_loop().time()
        leader = await networks[1].seek(2, later(0.3))
        networks[1].close()
        return leader, asyncio.get_running_loop().time() - start

    leader, seconds = asyncio.run(run())
    assert leader == 1
    assert seconds > 0.3


@pytest.mark.parametrize(("followers", "stays"), [((0, 0), 0), ((1, 1), 0), ((0, 1), 1), ((2, 1), 0)])
def test_of_two_leaders_the_one_with_fewer_followers_or_the_later_one_leaves(networks, monkeypatch, followers, stays):
    monkeypatch.setattr(network_module, "RIVALS", 0.01)

    async def run():
        for each, number in zip(networks, followers, strict=False):
            await each.open()
            each.lead(nobody, lambda number=number: number)
        looks = [asyncio.create_task(each.rival()) for each in networks[:2]]
        rival = await asyncio.wait_for(looks[1 - stays], 5)
        networks[1 - stays].follow()
        await asyncio.sleep(0.1)
        has_stayed = not looks[stays].done()
        for each, look in zip(networks, looks, strict=False):
            look.cancel()
            each.close()
        return rival, has_stayed

    assert asyncio.run(run()) == (stays, True)


def test_a_node_that_comes_later_follows_whoever_leads(networks):
    async def run():
        await networks[2].open()
        await networks[2].seek(2, later(0))
        networks[2].lead(nobody, int)
        await networks[0].open()
        leader = await networks[0].seek(2, later(0))
        for each in (networks[0], networks[2]):
            each.close()
        return leader

    assert asyncio.run(run()) == 2


def test_a_leader_is_followed_before_a_machine_that_is_gone_would_have_answered(networks, addresses, monkeypatch):
    """Which takes five seconds, in which the leader would start without this node."""
    with socket.create_server(("127.0.0.1", 0)) as gone:  # its queue takes the connection, and nobody answers
        networks[2] = Network([Address(*gone.getsockname()), *addresses[1:]], 2, "token", networks[2]._folder)

        async def run():
            await networks[1].open()
            networks[1].lead(nobody, int)
            start = asyncio.get_running_loop().time()
            leader = await networks[2].seek(1, later(0))
            networks[1].close()
            return leader, asyncio.get_running_loop().time() - start

        leader, seconds = asyncio.run(run())
    assert leader == 1
    assert seconds < link_module.SILENCE / 2


ANSWERS = [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"[]\n", b"{}\n", b"\xff\n"]


@pytest.fixture
def stranger(addresses):
    """Runs `check()` while another program has the address of node 0, and gives an answer."""

    def run(answer, check):
        async def greet(reader, writer):
            writer.write(answer)
            writer.close()

        async def checked():
            server = await asyncio.start_server(greet, *addresses[0])
            try:
                await check()
            finally:
                server.close()

        asyncio.run(checked())

    return run


@pytest.mark.parametrize("answer", ANSWERS)
def test_another_program_at_an_address_is_named(networks, addresses, stranger, answer):
    async def check():
        with pytest.raises(
            StrangerError, match=f"{addresses[0].port}: .*another program listens there; start all nodes alike, or give"
        ):
            await networks[1].seek(2, later(5))

    stranger(answer, check)


@pytest.mark.parametrize("answer", ANSWERS)
def test_another_program_that_took_the_port_of_a_lost_node_ends_no_training(
    networks, addresses, stranger, answer, capsys
):
    async def check():
        assert await networks[1].seek(1, later(0.05)) == 1
        assert await networks[1].seek(1, later(0)) == 1
        with pytest.raises(OSError, match=r"does not lead|another program"):
            await networks[1].join(0)
        with pytest.raises(OSError, match=r"gives no checkpoint|another program"):
            await networks[1].fetch(0)

    async def gather():
        await networks[1].open()
        assert await networks[1].seek(0, later(5)) == 1
        networks[1].close()

    asyncio.run(gather())
    stranger(answer, check)
    host, port = addresses[0]
    assert capsys.readouterr().err == (
        f"lightning-rcnn: {host}:{port}: a launcher of another command, or with other configuration "
        "files, or another program listens there; node 0 cannot come back before it ends\n"
    )


def test_a_node_that_comes_back_follows_the_leader_whatever_has_the_port_of_another(networks, stranger):
    async def check():
        await networks[2].open()
        networks[2].lead(nobody, int)
        assert await networks[1].seek(1, later(5)) == 2
        networks[2].close()

    stranger(ANSWERS[0], check)


def test_an_answer_that_breaks_off_is_none(networks, addresses):
    """A launcher that was killed, and no other program."""

    async def break_off(reader, writer):
        writer.write(b'{"lea')
        writer.close()

    async def run():
        server = await asyncio.start_server(break_off, *addresses[0])
        try:
            assert await networks[1]._answers() == ({}, [])
        finally:
            server.close()

    asyncio.run(run())


def test_a_port_that_is_taken_is_named(networks, addresses):
    with socket.create_server(("", addresses[0].port)), pytest.raises(OSError, match=r"port \d+ of this node: .*give"):
        asyncio.run(networks[0].open())


def test_messages_pass_both_ways_and_the_loss_of_either_is_noted(networks):
    async def run():
        heard = []
        for each in networks[:2]:
            await each.open()
        over = asyncio.Event()

        async def joined(number, link):
            link.send({"for": number})
            async for message in link.messages():
                heard.append(message)
            over.set()

        networks[0].lead(joined, int)
        link = await networks[1].join(0)
        link.send({"from": 1})
        async for message in link.messages():
            heard.append(message)
            break
        link.close()
        await asyncio.wait_for(over.wait(), 10)
        for each in networks[:2]:
            each.close()
        return heard

    assert {tuple(message.items()) for message in asyncio.run(run())} == {(("for", 1),), (("from", 1),)}


def test_a_node_that_is_silent_is_lost(networks, monkeypatch):
    """Its machine has no power: nothing tells that its connections are closed."""
    monkeypatch.setattr(link_module, "SILENCE", 0.5)

    async def run():
        await networks[0].open()
        silent = asyncio.Event()

        async def joined(number, link):
            async for _ in link.messages():
                raise AssertionError
            silent.set()

        networks[0].lead(joined, int)
        await networks[1].join(0)
        await asyncio.wait_for(silent.wait(), 10)
        networks[0].close()

    asyncio.run(run())


def test_a_node_that_does_not_lead_is_not_joined(networks):
    async def run():
        await networks[0].open()
        try:
            with pytest.raises(OSError, match="does not lead"):
                await networks[1].join(0)
            with pytest.raises(OSError, match="Connect"):
                await networks[1].join(2)
        finally:
            networks[0].close()

    asyncio.run(run())


def test_a_checkpoint_is_copied_whole_or_not_at_all(networks, tmp_path):
    content = bytes(range(256)) * 20000
    (tmp_path / "0" / NAME).write_bytes(content)

    async def run():
        for each in networks[:2]:
            await each.open()
        await networks[1].fetch(0)
        (tmp_path / "0" / NAME).unlink()
        with pytest.raises(OSError, match="closed"):
            await networks[1].fetch(0)
        for each in networks[:2]:
            each.close()

    asyncio.run(run())
    assert (tmp_path / "1" / NAME).read_bytes() == content
    assert [path.name for path in (tmp_path / "1").iterdir()] == [NAME]


def test_a_copy_waits_for_no_disk(networks, tmp_path, monkeypatch):
    """A launcher that waits gives no sign of life, and counts as lost after five seconds."""
    (tmp_path / "0" / NAME).write_bytes(bytes(3 * 2**20))
    monkeypatch.setattr("os.fsync", lambda descriptor: pytest.fail("waits for the disk"))

    async def run():
        await networks[0].open()
        await networks[1].fetch(0)
        networks[0].close()

    asyncio.run(run())
    assert (tmp_path / "1" / NAME).stat().st_size == 3 * 2**20


def test_launchers_of_another_command_are_refused(networks, addresses, tmp_path):
    async def run():
        await networks[0].open()
        try:
            with pytest.raises(StrangerError, match=f"{addresses[0].port}: a launcher of another command"):
                await Network(addresses, 1, "another", tmp_path).seek(2, later(5))
        finally:
            networks[0].close()

    asyncio.run(run())
