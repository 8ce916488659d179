import errno
import os
import pickle
import shutil
from pathlib import Path

import pytest

from lightning_rcnn.data.cache import ShardCache
from lightning_rcnn.data.fetch import FetchPolicy
from lightning_rcnn.data.reader import ShardReader, UnreadableRecordError
from lightning_rcnn.data.shards import read_shards


def open_reader(folder: Path | str | list[str]) -> ShardReader:
    shard_set = read_shards(str(folder) if isinstance(folder, Path) else folder)
    return ShardReader(shard_set, ShardCache(None, 1e9, FetchPolicy()))


def test_every_sample_is_found_by_its_number(uneven_set: Path):
    reader = open_reader(uneven_set)
    assert len(reader) == 43
    for number in (42, 0, 13, 12, 20, 7, *range(43)):
        raw = reader.read(number)
        assert raw.content["image_id"] == 1000 + number
        assert raw.image.startswith(b"\x89PNG")
        assert raw.location.endswith(f", key {number:09d}")


def test_numbers_run_through_the_chosen_shards(uneven_set: Path, make_set, tmp_path: Path):
    more = make_set(tmp_path / "more", (2, 2), first_id=5000)
    reader = open_reader([f"{uneven_set}/shard-{{000001..000002}}.tar", str(more)])
    assert [reader.read(number).content["image_id"] for number in (0, 17, 18, 21)] == [1013, 1030, 5000, 5003]


def test_a_copy_for_another_process_opens_its_own_files(uneven_set: Path):
    reader = open_reader(uneven_set)
    reader.read(0)
    assert pickle.loads(pickle.dumps(reader)).read(0) == reader.read(0)


def test_more_shards_than_files_may_be_open(make_set, tmp_path: Path):
    reader = open_reader(make_set(tmp_path / "many", (1,) * 50))
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(2):
        for number in range(50):
            assert reader.read(number).content["image_id"] == 1000 + number
    assert len(os.listdir("/proc/self/fd")) - before <= 32
    del reader
    assert len(os.listdir("/proc/self/fd")) == before


@pytest.fixture
def copied_set(uneven_set: Path, tmp_path: Path) -> Path:
    shutil.copytree(uneven_set, tmp_path / "copy")
    return tmp_path / "copy"


def overwrite(path: Path, start: int, data: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(start)
        file.write(data)


@pytest.mark.parametrize("garbage", [bytes(512), b"x" * 512, os.urandom(512)], ids=["zeros", "text", "noise"])
def test_a_damaged_tar_header_is_named(copied_set: Path, garbage: bytes):
    start = read_shards(str(copied_set)).index.shards[1].offsets[2]
    overwrite(copied_set / "shard-000001.tar", start, garbage)
    reader = open_reader(copied_set)
    with pytest.raises(UnreadableRecordError, match=r"copy/shard-000001.tar, key 000000015: ") as caught:
        reader.read(15)
    assert "\n" not in str(caught.value)
    assert reader.read(14).content["image_id"] == 1014
    assert reader.read(16).content["image_id"] == 1016


def test_damaged_json_is_named(copied_set: Path):
    shard = copied_set / "shard-000000.tar"
    overwrite(shard, shard.read_bytes().index(b'{"image_id": 1003'), b"\xff\xff{")
    with pytest.raises(UnreadableRecordError, match="key 000000003: "):
        open_reader(copied_set).read(3)


def test_a_shard_that_was_replaced_is_noticed(copied_set: Path):
    """Another shard under the same name: the key at the place is another one, or none begins there."""
    reader = open_reader(copied_set)
    shutil.copy(copied_set / "shard-000002.tar", copied_set / "shard-000001.tar")
    for number in range(13, 20):
        with pytest.raises(UnreadableRecordError, match=r"shard-000001.tar, key"):
            reader.read(number)
    with pytest.raises(UnreadableRecordError, match="damaged or changed since it was packed"):
        reader.read(13)


def test_a_passing_error_of_the_file_system_is_overcome(uneven_set: Path, monkeypatch: pytest.MonkeyPatch):
    real_pread, faults = os.pread, [errno.EIO, errno.ESTALE]

    def flaky_pread(descriptor: int, size: int, start: int) -> bytes:
        if faults:
            raise OSError(faults.pop(), "flaky")
        return real_pread(descriptor, min(size, 1000), start)  # network file systems give less than was asked for

    monkeypatch.setattr(os, "pread", flaky_pread)
    assert open_reader(uneven_set).read(20).content["image_id"] == 1020
    faults += [errno.EIO] * 3
    with pytest.raises(UnreadableRecordError, match=r"shard-000002.tar, key 000000021: .*flaky"):
        open_reader(uneven_set).read(21)


def test_an_evicted_shard_is_fetched_again(uneven_set: Path, tmp_path: Path):
    reader = ShardReader(read_shards(f"pipe:cat {uneven_set}/index.json"), ShardCache(tmp_path, 1e9, FetchPolicy()))
    assert reader.read(0).content["image_id"] == 1000
    for path in tmp_path.glob("*.tar"):
        path.unlink()
    copy = pickle.loads(pickle.dumps(reader))
    assert copy.read(1).content["image_id"] == 1001
