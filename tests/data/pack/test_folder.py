import json
import socket
import subprocess
import sys

import pytest

from lightning_rcnn.data.index import FORMAT
from lightning_rcnn.data.pack.folder import atomic_folder
from lightning_rcnn.errors import InputError


@pytest.fixture
def dead_process():
    """The id of a process that has ended."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def index(name):
    return json.dumps({"format": FORMAT, "name": name})


def fill(out, name, *, overwrite=False):
    with atomic_folder(out, overwrite=overwrite) as folder:
        (folder / "index.json").write_text(index(name))


def test_nothing_shows_before_the_end_and_only_the_folder_after_it(tmp_path):
    out = tmp_path / "deep" / "set"
    with atomic_folder(out, overwrite=False) as folder:
        (folder / "index.json").write_text("whole")
        assert not out.exists()
        assert folder.parent == out.parent, "a rename works only within a file system"
    assert names(out.parent) == ["set"]
    assert (out / "index.json").read_text() == "whole"


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_after_an_exception_nothing_is_left(tmp_path, error):
    def fail():
        with atomic_folder(tmp_path / "set", overwrite=False) as folder:
            (folder / "index.json").write_text("half")
            raise error

    with pytest.raises(error):
        fail()
    assert names(tmp_path) == []


def test_empty_folder_is_taken(tmp_path):
    (tmp_path / "set").mkdir()
    fill(tmp_path / "set", "whole")
    assert names(tmp_path / "set") == ["index.json"]


def test_packed_set_is_replaced_only_when_asked_and_only_by_a_whole_one(tmp_path):
    out = tmp_path / "set"
    fill(out, "old")
    with pytest.raises(InputError, match="add --overwrite"):
        fill(out, "new")
    with pytest.raises(RuntimeError), atomic_folder(out, overwrite=True):
        raise RuntimeError
    assert (out / "index.json").read_text() == index("old")
    fill(out, "new", overwrite=True)
    assert (out / "index.json").read_text() == index("new")
    assert names(tmp_path) == ["set"]


def test_folder_that_is_no_packed_set_is_never_replaced(tmp_path):
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "thesis.tex").write_text("years of work")
    with pytest.raises(InputError, match="is not a packed data set"):
        fill(tmp_path / "home", "new", overwrite=True)
    (tmp_path / "home" / "index.json").write_text('{"entries": []}')
    with pytest.raises(InputError, match="is not a packed data set"):
        fill(tmp_path / "home", "new", overwrite=True)
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="is not a packed data set"):
        fill(tmp_path / "file", "new", overwrite=True)
    assert names(tmp_path / "home") == ["index.json", "thesis.tex"]


def test_files_of_others_in_a_packed_set_are_never_removed(tmp_path):
    out = tmp_path / "set"
    shards = [{"name": "shard-000000.tar"}, {"name": "mine.tar", "annotations": {"name": "mine.annotations.jsonl"}}]
    out.mkdir()
    (out / "index.json").write_text(json.dumps({"format": FORMAT, "shards": shards}))
    (out / "shard-000000.tar").write_text("packed")
    fill(out, "new", overwrite=True)
    for name in ("notes.txt", "mine.tar", ".unfinished"):
        (out / "index.json").write_text(json.dumps({"format": FORMAT, "shards": shards}))
        (out / name).write_text("work")
        with pytest.raises(InputError, match=f"set: --overwrite would remove {out / name}, .*; move it"):
            fill(out, "new", overwrite=True)
        assert (out / name).read_text() == "work"
        (out / name).unlink()


def test_files_that_come_while_a_set_is_packed_are_not_removed(tmp_path):
    out = tmp_path / "set"
    fill(out, "old")
    with pytest.raises(InputError, match="would remove"), atomic_folder(out, overwrite=True):
        (out / "notes.txt").write_text("just now")
    assert names(out) == ["index.json", "notes.txt"]
    assert names(tmp_path) == ["set"]


def test_splits_are_replaced_but_not_sets_beside_each_other(tmp_path):
    for split in ("train", "val", "small"):
        fill(tmp_path / "set" / split, split)
    with pytest.raises(InputError, match="set: exists and is not a packed data set"):
        fill(tmp_path / "set", "new", overwrite=True)
    (tmp_path / "set" / "val" / "notes.txt").write_text("")
    with (
        pytest.raises(InputError, match=r"would remove .*val/notes\.txt"),
        atomic_folder(tmp_path / "set", overwrite=True, splits=["small"]),
    ):
        pass
    (tmp_path / "set" / "val" / "notes.txt").unlink()
    with atomic_folder(tmp_path / "set", overwrite=True, splits=["small"]) as folder:
        (folder / "index.json").write_text(index("new"))
    assert names(tmp_path / "set") == ["index.json"]


def test_place_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="file/set: cannot be written"):
        fill(tmp_path / "file" / "set", "new")


def test_leftovers_of_the_dead_are_removed_and_those_of_the_living_stay(tmp_path, dead_process):
    host = socket.gethostname()
    dead = tmp_path / f".set.{host}.{dead_process}.partial"
    living = tmp_path / f".set.{host}.1.partial"
    elsewhere = tmp_path / f".set.another-host.{dead_process}.partial"
    other_set = tmp_path / f".settings.{host}.{dead_process}.partial"
    for folder in (dead, living, elsewhere, other_set):
        folder.mkdir()
    fill(tmp_path / "set", "whole")
    assert names(tmp_path) == sorted([living.name, elsewhere.name, other_set.name, "set"])


def test_old_set_comes_back_if_the_replacing_was_killed_in_the_middle(tmp_path, dead_process):
    replaced = tmp_path / f".set.{socket.gethostname()}.{dead_process}.replaced"
    replaced.mkdir()
    (replaced / "index.json").write_text(index("old"))
    with pytest.raises(InputError, match="add --overwrite"):
        fill(tmp_path / "set", "new")
    assert (tmp_path / "set" / "index.json").read_text() == index("old")
