from pathlib import Path

import pytest

from lightning_rcnn.checkpoints.header import read_header
from lightning_rcnn.checkpoints.sources import local_file
from lightning_rcnn.errors import InputError


@pytest.mark.parametrize(
    ("path", "line"),
    [
        ("run", "run: a folder; give a checkpoint in it, such as run/checkpoints/best.ckpt"),
        ("run/checkpoints", "run/checkpoints: a folder; give a checkpoint in it, such as run/checkpoints/best.ckpt"),
        ("empty", "empty: a folder without checkpoints"),
        ("run/checkpoints/bets.ckpt", "run/checkpoints/bets.ckpt: no such checkpoint; did you mean best.ckpt?"),
        ("nowhere/best.ckpt", "nowhere/best.ckpt: no such checkpoint"),
    ],
)
def test_the_way_to_a_checkpoint_is_named(tmp_path, monkeypatch, path, line):
    monkeypatch.chdir(tmp_path)
    Path("run/checkpoints").mkdir(parents=True)
    Path("empty").mkdir()
    for name in ("last.ckpt", "best.ckpt"):
        Path("run/checkpoints", name).touch()
    with pytest.raises(InputError) as caught:
        read_header(path)
    assert str(caught.value) == line
    if Path(path).is_dir():
        with pytest.raises(InputError) as caught:
            local_file(path)
        assert str(caught.value) == f"weights {line}"
