"""Checkpoints in clouds: read where a file is read, written by Lightning, never half."""

import os
from pathlib import Path

import fsspec
import pytest
import torch

from lightning_rcnn.callbacks.checkpoints import AtomicCheckpointIO
from lightning_rcnn.checkpoints.sources import checkpoint_file, local_file
from lightning_rcnn.data.fetch import FetchPolicy, list_files, send_file
from lightning_rcnn.data.stores import cloud
from lightning_rcnn.errors import InputError
from tests.faulty_server import half, unavailable
from tests.s3_server import S3Server


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    return tmp_path / "hub" / "checkpoints"


def test_a_copy_counts_as_long_as_the_file_is_the_same(s3: S3Server, hub: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("lightning_rcnn.checkpoints.sources.FetchPolicy", lambda: FetchPolicy(first_pause=0.01))
    url = "s3://bucket/run/checkpoints/last.ckpt"
    s3.put("run/checkpoints/last.ckpt", b"first")
    s3.behaviors["/bucket/run/checkpoints/last.ckpt"] = [unavailable, half]
    assert local_file(url).read_bytes() == b"first"
    assert checkpoint_file(url) == local_file(url)
    assert s3.requests.count("GET /bucket/run/checkpoints/last.ckpt") == 3
    s3.put("run/checkpoints/last.ckpt", b"second")
    copy = local_file(url)
    assert copy.read_bytes() == b"second"
    assert copy.name.endswith("-last.ckpt")
    assert list((hub / "s3/bucket/run/checkpoints").glob("*-last.ckpt")) == [copy]
    with pytest.raises(InputError, match=r"^model.weights s3://bucket/run/best.ckpt: no such file or bucket; check"):
        local_file("s3://bucket/run/best.ckpt", "model.weights")
    with pytest.raises(InputError, match=r"^weights s3://bucket/run: is a folder; check the address"):
        local_file("s3://bucket/run")


def test_lightning_writes_and_reads_at_a_url(s3: S3Server, hub: Path):
    plugin, url = AtomicCheckpointIO(), "s3://bucket/saved/a.ckpt"
    plugin.save_checkpoint({"weight": torch.arange(3)}, url)
    assert plugin.load_checkpoint(url)["weight"].tolist() == [0, 1, 2]
    plugin.remove_checkpoint(url)
    assert s3.get("saved/a.ckpt") is None


@pytest.mark.parametrize("scheme", ["memory", "file"])
def test_what_is_half_written_has_another_name(tmp_path: Path, scheme: str, monkeypatch: pytest.MonkeyPatch):
    """Object stores make files appear as a whole; a folder on another machine does not."""
    (tmp_path / "local.ckpt").write_bytes(b"new")
    url = f"{scheme}://{tmp_path}/store"
    send_file(tmp_path / "local.ckpt", f"{url}/a/last.ckpt", FetchPolicy())
    assert list(list_files(url, FetchPolicy())) == ["a/last.ckpt"]
    if scheme == "file":
        written = []
        filesystem = cloud.filesystem_of(url, 30.0)
        monkeypatch.setattr(filesystem, "mv", lambda source, target: written.append((source, target)))
        send_file(tmp_path / "local.ckpt", f"{url}/a/last.ckpt", FetchPolicy())
        assert written == [(f"{tmp_path}/store/a/.last.ckpt.partial", f"{tmp_path}/store/a/last.ckpt")]
        assert os.path.exists(written[0][0])
    else:
        assert fsspec.filesystem("memory").cat(f"{tmp_path}/store/a/last.ckpt") == b"new"
