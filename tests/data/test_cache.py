import os
import time
from pathlib import Path

import pytest

from lightning_rcnn.data.cache import ShardCache, default_folder
from lightning_rcnn.data.fetch import FetchPolicy
from lightning_rcnn.data.shards import read_shards
from lightning_rcnn.errors import InputError


def test_local_shards_stay_where_they_are(uneven_set: Path, tmp_path: Path):
    shard_set = read_shards(str(uneven_set))
    cache = ShardCache(tmp_path / "unused", 0, FetchPolicy())
    path = cache.local_path(shard_set.addresses[0], shard_set.index.shards[0])
    assert path == uneven_set / "shard-000000.tar"
    assert not (tmp_path / "unused").exists()


def test_the_shards_unused_for_longest_go(uneven_set: Path, tmp_path: Path):
    shard_set = read_shards(f"pipe:cat {uneven_set}/index.json")
    sizes = [(uneven_set / shard.name).stat().st_size for shard in shard_set.index.shards]
    cache = ShardCache(tmp_path, sum(sizes[:3]) + 1, FetchPolicy())

    def use(number: int) -> Path:
        path = cache.local_path(shard_set.addresses[number], shard_set.index.shards[number])
        os.utime(path, (time.time() + len(used), time.time() + len(used)))  # a clock that is fine enough
        used.append(path)
        return path

    used: list[Path] = []
    first, second = use(0), use(1)
    with second.open("rb") as opened:
        use(2)
        use(0)
        use(3)
        assert first.exists()
        assert not second.exists()
        assert opened.read() == (uneven_set / "shard-000001.tar").read_bytes()  # whoever has it open reads on
    assert use(1).exists()  # and who comes later fetches it again


def test_a_limit_below_one_shard_still_works(uneven_set: Path, tmp_path: Path):
    shard_set = read_shards(f"pipe:cat {uneven_set}/index.json")
    cache = ShardCache(tmp_path, 0, FetchPolicy())
    for address, shard in zip(shard_set.addresses, shard_set.index.shards, strict=True):
        assert cache.local_path(address, shard).exists()
    assert len(list(tmp_path.glob("*.tar"))) == 1


def test_a_folder_that_cannot_be_written_is_named(uneven_set: Path, tmp_path: Path):
    (tmp_path / "file").touch()
    shard_set = read_shards(f"pipe:cat {uneven_set}/index.json")
    cache = ShardCache(tmp_path / "file", 1e9, FetchPolicy())
    with pytest.raises(
        InputError, match=r"file: fetched shards cannot be stored .*; make room or set data.fetching.cache_dir"
    ):
        cache.local_path(shard_set.addresses[0], shard_set.index.shards[0])


def test_the_default_folder_follows_the_environment(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("XDG_CACHE_HOME", "/somewhere")
    assert default_folder() == Path("/somewhere/lightning-rcnn/shards")
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", "/home/me")
    assert default_folder() == Path("/home/me/.cache/lightning-rcnn/shards")
