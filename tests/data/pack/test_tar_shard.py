import hashlib
import io
import tarfile
from concurrent.futures import ThreadPoolExecutor

import pytest
from webdataset import TarWriter

from lightning_rcnn.data.pack.tar_shard import TarShard


@pytest.fixture
def thread():
    with ThreadPoolExecutor(1) as executor:
        yield executor


SAMPLES = [
    {"__key__": f"{number:09d}", "jpg": bytes(range(256)) * number, "json": b"x" * length}
    for number, length in enumerate([0, 1, 511, 512, 513, 10_240])
]


def test_a_shard_has_the_bytes_of_webdatasets_writer(thread):
    file, expected = io.BytesIO(), io.BytesIO()
    shard = TarShard(file, thread)
    for sample in SAMPLES:
        for extension in ("jpg", "json"):
            shard.add(f"{sample['__key__']}.{extension}", sample[extension])
    offset = shard.offset
    digest = shard.end().result()
    assert file.getvalue()[offset - 1 :].rstrip(b"\0") == b"x"  # the end of the last member, then that of the archive
    writer = TarWriter(expected, user="", group="", mtime=0, encoder=False)
    for sample in SAMPLES:
        writer.write(sample)
    writer.close()
    assert file.getvalue() == expected.getvalue()
    assert digest == hashlib.sha256(expected.getvalue()).hexdigest()


def test_a_shard_without_members_is_an_empty_archive(thread):
    file = io.BytesIO()
    TarShard(file, thread).end().result()
    with tarfile.open(fileobj=io.BytesIO(file.getvalue())) as archive:
        assert archive.getnames() == []


def test_a_name_that_no_header_holds_is_refused(thread):
    shard = TarShard(io.BytesIO(), thread)
    shard.add("n" * 100, b"")
    with pytest.raises(ValueError, match="a name of 101 characters"):
        shard.add("n" * 101, b"")
