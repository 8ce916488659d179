"""Packed sets in clouds: S3 by moto's server, which drops, stalls, cuts and refuses; the hub; fsspec's own stores."""

import shutil
import sys
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import fsspec
import pytest
from fsspec.registry import _registry

from lightning_rcnn.data.cache import ShardCache
from lightning_rcnn.data.fetch import FetchPolicy, fetch_bytes
from lightning_rcnn.data.shards import read_shards
from lightning_rcnn.data.stores import cloud, filesystems
from lightning_rcnn.data.stores.filesystems import filesystem_of
from lightning_rcnn.errors import InputError
from tests.faulty_server import Behavior, damage, drop, half, stall, unavailable
from tests.hub_server import HubServer
from tests.s3_server import S3Server

PATIENCE = FetchPolicy(timeout=0.5, attempts=4, first_pause=0.01)
SHARD = "/bucket/train/shard-000000.tar"
INDEX = "/bucket/train/index.json"


def forbid(request: BaseHTTPRequestHandler, data: bytes) -> None:
    request.send_error(403)


@pytest.fixture
def url(s3: S3Server, uneven_set: Path) -> str:
    url = s3.put_folder(uneven_set, "train")
    filesystem_of(url, PATIENCE.timeout).connect()  # making the client takes longer than the patience of these tests
    s3.forget()
    return url


def fetch_shard(url: str, folder: Path, policy: FetchPolicy = PATIENCE) -> Path:
    shard_set = read_shards(url, policy)
    return ShardCache(folder, 1e9, policy).local_path(shard_set.addresses[0], shard_set.index.shards[0])


@pytest.mark.parametrize(
    "suffix", ["", "/", "/index.json", "/shard-{000000..000004}.tar", "/*.tar", "/shard-00000?.tar", "/shard-[0-9]*"]
)
def test_ways_to_name_a_set(url: str, suffix: str):
    shard_set = read_shards(url + suffix, PATIENCE)
    assert len(shard_set.index) == 43
    assert shard_set.addresses[3] == f"{url}/shard-000003.tar"


def test_patterns_of_folders(s3: S3Server, url: str, make_set, tmp_path: Path):
    more = s3.put_folder(make_set(tmp_path / "more", (4, 2), first_id=5000), "sets/more")
    s3.put_folder(make_set(tmp_path / "others", (3,), first_id=6000), "sets/others")
    assert len(read_shards("s3://bucket/sets/*").index) == 9
    assert len(read_shards([url, "s3://bucket/s*/mor?"]).index) == 49
    assert len(read_shards(f"{more}/*1.tar").index) == 2


def test_a_shard_is_fetched_once_and_in_parts(
    s3: S3Server, url: str, uneven_set: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(cloud, "_CHUNK", 1000)
    for _ in range(3):
        path = fetch_shard(url, tmp_path, FetchPolicy(attempts=1))
    size = (uneven_set / "shard-000000.tar").stat().st_size
    assert path.read_bytes() == (uneven_set / "shard-000000.tar").read_bytes()
    assert s3.requests.count(f"GET {SHARD}") == -(-size // 1000)
    assert size < s3.received[SHARD] < 2 * size  # with the headers of answers of 1000 bytes


@pytest.mark.parametrize("fault", [unavailable, drop, half, stall, damage])
def test_a_passing_fault_is_overcome(s3: S3Server, url: str, uneven_set: Path, tmp_path: Path, fault: Behavior):
    s3.behaviors[SHARD] = [fault, unavailable, fault]
    s3.behaviors[INDEX] = [unavailable, drop]
    assert fetch_shard(url, tmp_path).read_bytes() == (uneven_set / "shard-000000.tar").read_bytes()


@pytest.mark.end_to_end
@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        (unavailable, "Service Unavailable"),
        (drop, "Connection was closed"),
        (half, r"received \d+ of \d+ bytes"),
        (stall, "no byte in 0.5 s"),
        (damage, "sha256 differs from the index"),
    ],
)
def test_a_lasting_fault_ends_with_the_url_named(s3: S3Server, url: str, tmp_path: Path, fault: Behavior, reason: str):
    s3.behaviors[SHARD] = [fault] * 9
    match = rf"^{url}/shard-000000.tar: .*{reason}.* after 4 attempts; check the address"
    start = time.monotonic()
    with pytest.raises(InputError, match=match) as caught:
        fetch_shard(url, tmp_path)
    assert time.monotonic() - start < 4 * 0.5 + 2.0
    assert "\n" not in str(caught.value)
    # No attempts of the package's own between ours; only its client repeats a request on a connection that was closed.
    assert s3.requests.count(f"GET {SHARD}") == (8 if fault is drop else 4)
    assert not list(tmp_path.glob("*.tar*[!k]"))  # neither the shard nor a part of it; only the lock


def test_what_does_not_exist_is_named(s3: S3Server, url: str):
    with pytest.raises(InputError, match=r"s3://bucket/nowhere/index.json: no such file or bucket; check the ad"):
        read_shards("s3://bucket/nowhere", PATIENCE)
    with pytest.raises(InputError, match=r"s3://nobodys/train/index.json: no such file or bucket"):
        read_shards("s3://nobodys/train", PATIENCE)
    with pytest.raises(InputError, match=r"s3://bucket/train/other-\*.tar: no file or folder matches"):
        read_shards(f"{url}/other-*.tar", PATIENCE)
    with pytest.raises(InputError, match=r"stranger.tar: not in s3://bucket/train/index.json"):
        read_shards(f"{url}/stranger.tar", PATIENCE)


def test_access_is_the_stores_own_matter(s3: S3Server, url: str, monkeypatch: pytest.MonkeyPatch):
    s3.behaviors[INDEX] = [forbid]
    with pytest.raises(InputError, match=r"^s3://bucket/train/index.json: no access \(.*\); check the address, your"):
        read_shards(url, PATIENCE)
    assert s3.requests.count(f"GET {INDEX}") == 1
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    impatient = FetchPolicy(timeout=4.9, attempts=1)  # no other test has this limit, so this makes a client of its own
    with pytest.raises(InputError, match=r"^s3://bucket/train/index.json: Unable to locate credentials; check the ad"):
        read_shards(url, impatient)


@pytest.mark.parametrize(
    ("scheme", "package", "extra"),
    [("s3", "s3fs", "s3"), ("gs", "gcsfs", "gs"), ("abfs", "adlfs", "az"), ("hf", "huggingface_hub", "hf")],
)
def test_a_missing_package_is_one_line(monkeypatch: pytest.MonkeyPatch, scheme: str, package: str, extra: str):
    monkeypatch.setitem(sys.modules, package, None)
    monkeypatch.delitem(_registry, scheme, raising=False)
    match = rf"^{scheme}://b/c/index.json: the package for {scheme}:// is missing; .*'lightning-rcnn\[{extra}\]'`$"
    with pytest.raises(InputError, match=match):
        read_shards(f"{scheme}://b/c")


def test_whatever_else_fsspec_reads(uneven_set: Path, tmp_path: Path):
    memory = fsspec.filesystem("memory")
    memory.put(str(uneven_set), "/sets/train", recursive=True)
    for url in ("memory://sets/train", "memory://sets/train/*.tar", uneven_set.as_uri()):
        shard_set = read_shards(url)
        assert len(shard_set.index) == 43
        path = ShardCache(tmp_path, 1e9, PATIENCE).local_path(shard_set.addresses[4], shard_set.index.shards[4])
        assert path.read_bytes() == (uneven_set / "shard-000004.tar").read_bytes()


def test_passwords_stay_out_of_messages():
    with pytest.raises(InputError) as caught:
        fetch_bytes("ftp://me:secret@127.0.0.1:9/index.json", FetchPolicy(timeout=0.3, attempts=1))
    assert "secret" not in str(caught.value)
    assert str(caught.value).startswith("ftp://127.0.0.1:9/index.json: ")


@pytest.fixture
def hub(uneven_set: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[HubServer]:
    shutil.copytree(uneven_set, tmp_path / "hub" / "sets" / "train")
    hub = HubServer(tmp_path / "hub")
    monkeypatch.setitem(fsspec.config.conf, "hf", {"endpoint": hub.url})
    monkeypatch.setattr(filesystems, "_filesystems", {})
    yield hub
    hub.close()


@pytest.mark.end_to_end
def test_sets_on_the_hub(hub: HubServer, uneven_set: Path, tmp_path: Path):
    url, shard, patience = "hf://datasets/owner/name/sets/train", "sets/train/shard-000000.tar", FetchPolicy(attempts=1)
    for suffix in ("", "/*.tar", "/shard-{000000..000004}.tar"):
        assert len(read_shards(url + suffix, patience).index) == 43
    hub.behaviors[shard] = [unavailable, drop]  # its client tries again by itself
    hub.requests.clear()
    assert fetch_shard(url, tmp_path, patience).read_bytes() == (uneven_set / "shard-000000.tar").read_bytes()
    assert hub.requests.count(f"GET /datasets/owner/name/resolve/main/{shard}") == 3
    hub.behaviors[shard] = [damage]
    with pytest.raises(InputError, match=rf"^{url}/shard-000000.tar: its sha256 differs from the index"):
        fetch_shard(url, tmp_path / "damaged", patience)


@pytest.mark.end_to_end
def test_what_the_hub_does_not_have_is_named(hub: HubServer):
    for url in ("hf://datasets/owner/name/sets/val", "hf://datasets/owner/nothing/train", "hf://owner/name"):
        with pytest.raises(InputError, match=f"^{url}/index.json: no such file or bucket; check the address, your acc"):
            read_shards(url, PATIENCE)
