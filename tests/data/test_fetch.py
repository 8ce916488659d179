"""A server and commands that misbehave."""

import hashlib
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from lightning_rcnn.data.cache import ShardCache
from lightning_rcnn.data.fetch import FetchPolicy, fetch_bytes, fetch_file
from lightning_rcnn.data.shards import read_shards
from lightning_rcnn.errors import InputError
from tests.faulty_server import Behavior, Server, damage, drop, half, stall, unavailable

PATIENCE = FetchPolicy(timeout=0.3, attempts=4, first_pause=0.01)


@pytest.fixture
def server(uneven_set: Path) -> Iterator[Server]:
    server = Server(uneven_set)
    yield server
    server.close()


def fetch_shard(server: Server, folder: Path, name: str = "shard-000000.tar", limit: float = 1e9) -> Path:
    shard_set = read_shards(server.url, PATIENCE)
    number = [shard.name for shard in shard_set.index.shards].index(name)
    return ShardCache(folder, limit, PATIENCE).local_path(shard_set.addresses[number], shard_set.index.shards[number])


@pytest.mark.parametrize("suffix", ["", "/", "/index.json", "/shard-{000000..000004}.tar", "/index.json?signature=abc"])
def test_ways_to_name_a_set(server: Server, suffix: str):
    shard_set = read_shards(server.url + suffix, PATIENCE)
    assert len(shard_set.index) == 43
    assert shard_set.addresses[3].startswith(f"{server.url}/shard-000003.tar")


def test_a_shard_is_fetched_once(server: Server, uneven_set: Path, tmp_path: Path):
    paths = [fetch_shard(server, tmp_path) for _ in range(3)]
    assert paths[0].read_bytes() == (uneven_set / "shard-000000.tar").read_bytes()
    assert server.requests.count("/shard-000000.tar") == 1


def test_processes_that_want_the_same_shard_wait_for_one(server: Server, tmp_path: Path):
    threads = [threading.Thread(target=fetch_shard, args=(server, tmp_path)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert server.requests.count("/shard-000000.tar") == 1


def test_content_that_is_cut_off_is_fetched_again(server: Server, uneven_set: Path):
    server.behaviors["/index.json"] = [half, half]
    assert fetch_bytes(f"{server.url}/index.json", PATIENCE) == (uneven_set / "index.json").read_bytes()
    server.behaviors["/index.json"] = [half] * 4
    with pytest.raises(InputError, match=r"index\.json: received only \d+ of \d+ bytes after 4 attempts"):
        fetch_bytes(f"{server.url}/index.json", PATIENCE)


def test_spaces_and_letters_beyond_ascii_are_sent_as_by_a_browser(tmp_path: Path):
    (tmp_path / "Z%C3%BCrich%20a+b.txt").write_bytes(b"content")
    server = Server(tmp_path)
    assert fetch_bytes(f"{server.url}/Zürich a+b.txt", PATIENCE) == b"content"
    assert fetch_bytes(f"{server.url}/Z%C3%BCrich%20a+b.txt?of=é", PATIENCE) == b"content"
    assert server.requests == ["/Z%C3%BCrich%20a+b.txt"] * 2
    server.close()


@pytest.mark.parametrize("fault", [unavailable, drop, half, stall, damage])
def test_a_passing_fault_is_overcome(server: Server, uneven_set: Path, tmp_path: Path, fault: Behavior):
    server.behaviors["/shard-000000.tar"] = [fault, unavailable, fault]
    server.behaviors["/index.json"] = [unavailable, drop]
    path = fetch_shard(server, tmp_path)
    assert path.read_bytes() == (uneven_set / "shard-000000.tar").read_bytes()


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        (unavailable, "HTTP 503"),
        (drop, "closed connection"),
        (half, "received only"),
        (stall, "no byte in 0.3 s"),
        (damage, "sha256 differs from the index"),
    ],
)
def test_a_lasting_fault_ends_with_the_url_named(server: Server, tmp_path: Path, fault: Behavior, reason: str):
    server.behaviors["/shard-000000.tar"] = [fault] * 9
    start = time.monotonic()
    with pytest.raises(InputError, match=rf"^{server.url}/shard-000000.tar: .*{reason}.* after 4 attempts") as caught:
        fetch_shard(server, tmp_path)
    assert time.monotonic() - start < 4 * 0.3 + 2.0
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.glob("*.tar*[!k]"))  # neither the shard nor a part of it; only the lock


def test_what_does_not_exist_is_asked_for_once(server: Server):
    with pytest.raises(InputError, match=rf"{server.url}/nowhere/index.json: HTTP 404"):
        read_shards(f"{server.url}/nowhere", PATIENCE)
    assert server.requests == ["/nowhere/index.json"]


def test_nobody_there():
    with pytest.raises(InputError, match=r"http://127.0.0.1:9/index.json: .*refused.* after 2 attempts"):
        read_shards("http://127.0.0.1:9", FetchPolicy(timeout=0.3, attempts=2, first_pause=0.01))


def test_signatures_stay_out_of_messages(server: Server):
    with pytest.raises(InputError) as caught:
        fetch_bytes(f"{server.url}/nothing.tar?signature=secret", PATIENCE)
    assert "secret" not in str(caught.value)


def test_a_trickle_counts_as_a_stall(tmp_path: Path):
    command = "pipe:while true; do echo x; sleep 0.05; done"
    policy = FetchPolicy(timeout=0.2, attempts=1)
    with (tmp_path / "file").open("wb") as file, pytest.raises(InputError, match="slower than 100 kB/s"):
        fetch_file(command, file, min_size=10**4, sha256="", policy=policy)


@pytest.mark.parametrize(
    ("command", "reason"),
    [
        ("echo half; echo 'no such bucket' >&2; exit 3", "exit status 3: no such bucket after 4 attempts"),
        ("no-such-command-here", "exit status 127"),
        ("sleep 5", "no byte in 0.3 s after 4 attempts"),
        ("echo x; exec >&-; sleep 5", "did not end in 0.3 s"),
    ],
)
def test_a_command_that_fails_is_named(command: str, reason: str):
    start = time.monotonic()
    with pytest.raises(InputError, match=reason) as caught:
        fetch_bytes(f"pipe:{command}", PATIENCE)
    assert str(caught.value).startswith(f"pipe:{command}")
    assert time.monotonic() - start < 4.0


def test_a_command_prints_a_shard(uneven_set: Path, tmp_path: Path):
    shard_set = read_shards(f"pipe:cat {uneven_set}/index.json")
    path = ShardCache(tmp_path, 1e9, PATIENCE).local_path(shard_set.addresses[2], shard_set.index.shards[2])
    assert path.read_bytes() == (uneven_set / "shard-000002.tar").read_bytes()


def test_no_room():
    full = open("/dev/full", "wb", buffering=0)  # noqa: SIM115 - a buffer would fail again on closing
    with (
        full,
        pytest.raises(OSError, match="No space left"),
    ):
        fetch_file("pipe:cat /dev/zero", full, min_size=1, sha256="", policy=PATIENCE)


def test_the_hash_is_checked(tmp_path: Path):
    digest = hashlib.sha256(b"hello\n").hexdigest()
    with (tmp_path / "file").open("wb") as file:
        fetch_file("pipe:echo hello", file, min_size=6, sha256=digest, policy=PATIENCE)
    assert (tmp_path / "file").read_bytes() == b"hello\n"
