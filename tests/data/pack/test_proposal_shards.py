import json
import os
import signal
import subprocess
import sys
import tarfile
import textwrap
import time
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from filelock import FileLock
from rich.console import Console

from lightning_rcnn.data.cache import ShardCache
from lightning_rcnn.data.fetch import FetchPolicy
from lightning_rcnn.data.pack import proposal_shards
from lightning_rcnn.data.pack.proposal_shards import FromPixels, write_proposals
from lightning_rcnn.data.reader import ShardReader
from lightning_rcnn.data.shards import read_shards
from lightning_rcnn.errors import InputError
from lightning_rcnn.proposals.selective_search import SelectiveSearch

CACHE = ShardCache(None, 1e9, FetchPolicy())
NUM = 10


class Stop(Exception):  # noqa: N818 - stands for any interruption
    pass


def corner_box(image):
    """One box as large as the image, whose score is the image's red value: its number."""
    _, height, width = image.shape
    return np.array([[0, 0, width, height, image[0, 0, 0]]], np.float32)


@pytest.fixture
def source(make_set, tmp_path) -> Path:
    return make_set(tmp_path / "source", (4, 3, 3), broken=(5,))


@pytest.fixture
def run(source):
    def run(out, propose=corner_box, method="corners", folder=source, workers=1, console=None):
        return write_proposals(
            read_shards(str(folder)),
            CACHE,
            out,
            FromPixels(propose),
            method,
            workers=workers,
            console=console or Console(quiet=True),
        )

    return run


def bytes_of(folder):
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def test_samples_are_as_before_with_proposals_beside_them(run, source, tmp_path):
    index = run(tmp_path / "out")
    assert sorted(bytes_of(tmp_path / "out")) == ["index.json", *(f"shard-{n:06d}.tar" for n in range(3))]
    assert read_shards(str(tmp_path / "out")).index == index
    before, after = (ShardReader(read_shards(str(folder)), CACHE) for folder in (source, tmp_path / "out"))
    for number in range(NUM):
        old, new = before.read(number), after.read(number)
        assert old.image == new.image
        assert old.content == new.content
        assert old.proposals is None
        size = [new.content["width"], new.content["height"]]
        assert new.proposals.tolist() == ([] if number == 5 else [[0, 0, *size, number]])


def test_shards_are_whole_tar_files(run, source, tmp_path):
    run(tmp_path / "out")
    for path in sorted(source.glob("*.tar")):
        with tarfile.open(path) as before, tarfile.open(tmp_path / "out" / path.name) as after:
            names = [name for name in after.getnames() if not name.endswith(".proposals.npy")]
            assert names == before.getnames()
            assert len(after.getnames()) == len(names) + len(names) // 2
            assert all(member.mtime == 0 for member in after.getmembers())
        assert (tmp_path / "out" / path.name).stat().st_size % tarfile.RECORDSIZE == 0


@pytest.mark.end_to_end
def test_the_bytes_do_not_depend_on_the_number_of_processes(run, tmp_path):
    search = SelectiveSearch("fast", 16, 10)  # as all that other processes can import
    run(tmp_path / "one", search)
    run(tmp_path / "two", search, workers=2)
    assert bytes_of(tmp_path / "one") == bytes_of(tmp_path / "two")


@pytest.mark.parametrize("stop_at", range(NUM))
def test_an_interrupted_run_resumes_with_the_same_bytes(run, tmp_path, stop_at):
    run(tmp_path / "undisturbed")
    seen = []

    def count(image, limit=NUM):
        if len(seen) == limit:
            raise Stop
        seen.append(int(image[0, 0, 0]))
        return corner_box(image)

    done = stop_at - (stop_at > 5)  # the fifth image is broken, so nothing is proposed for it
    if stop_at < NUM - 1:
        with pytest.raises(Stop):
            run(tmp_path / "out", partial(count, limit=done))
        assert not (tmp_path / "out" / "index.json").exists()
        finished = [path.name for path in (tmp_path / "out").glob("*.tar")]
        assert len(finished) == (stop_at >= 4) + (stop_at >= 7)
        with pytest.raises(InputError, match=r"index\.json"):
            read_shards(str(tmp_path / "out"))
    run(tmp_path / "out", count)
    assert sorted(seen) == [number for number in range(NUM) if number != 5]  # each once
    assert bytes_of(tmp_path / "out") == bytes_of(tmp_path / "undisturbed")


def test_a_kill_between_a_shard_and_its_entry_changes_nothing(run, tmp_path, monkeypatch):
    run(tmp_path / "undisturbed")
    atomic_save = proposal_shards._write

    def fail_at_entries(path, content):
        if path.name.endswith(".tar.json"):
            raise Stop
        atomic_save(path, content)

    monkeypatch.setattr(proposal_shards, "_write", fail_at_entries)
    with pytest.raises(Stop):
        run(tmp_path / "out")
    monkeypatch.undo()
    run(tmp_path / "out")
    assert bytes_of(tmp_path / "out") == bytes_of(tmp_path / "undisturbed")


@pytest.mark.end_to_end
def test_a_killed_process_leaves_nothing_half_written(run, source, tmp_path):
    """SIGKILL while images take their time; existing files are complete, and the next run resumes from them."""
    out = tmp_path / "out"
    script = tmp_path / "slow.py"
    script.write_text(
        textwrap.dedent(f"""
        import time
        import numpy as np
        from pathlib import Path
        from rich.console import Console
        from lightning_rcnn.data.cache import ShardCache
        from lightning_rcnn.data.fetch import FetchPolicy
        from lightning_rcnn.data.pack.proposal_shards import FromPixels, write_proposals
        from lightning_rcnn.data.shards import read_shards

        def slowly(image):
            time.sleep(0.2)
            _, height, width = image.shape
            return np.array([[0, 0, width, height, image[0, 0, 0]]], np.float32)

        write_proposals(read_shards({str(source)!r}), ShardCache(None, 1e9, FetchPolicy()), Path({str(out)!r}),
                        FromPixels(slowly), "corners", workers=1, console=Console(quiet=True))
        """)
    )
    process = subprocess.Popen(
        [sys.executable, str(script)], env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    )
    deadline = time.monotonic() + 300  # importing takes long on a busy machine
    while not (out / "shard-000000.tar").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert not (out / "index.json").exists()
    seen = []

    def count(image):
        seen.append(int(image[0, 0, 0]))
        return corner_box(image)

    run(out, count)
    run(tmp_path / "undisturbed")
    assert not {0, 1, 2} & set(seen)
    assert bytes_of(out) == bytes_of(tmp_path / "undisturbed")


def test_finished_work_is_left_as_it_is(run, tmp_path):
    index = run(tmp_path / "out")
    before = bytes_of(tmp_path / "out")

    def never(image):
        raise AssertionError("called again")

    (tmp_path / "out" / ".unfinished").mkdir()  # as after a kill at the very end
    assert run(tmp_path / "out", never) == index
    assert bytes_of(tmp_path / "out") == before


def stop_at_once(image):
    raise Stop


@pytest.mark.parametrize("is_finished", [True, False])
def test_a_folder_of_other_proposals_is_refused(run, make_set, tmp_path, is_finished):
    out = tmp_path / "out"
    if is_finished:
        run(out)
    else:
        with pytest.raises(Stop):
            run(out, stop_at_once)
    other = make_set(tmp_path / "other", (2,))
    with pytest.raises(InputError, match="out: holds proposals of another data set; choose another folder"):
        run(out, folder=other)
    with pytest.raises(InputError, match="out: holds proposals of corners, not of edges; choose another folder"):
        run(out, method="edges")


def test_folders_with_something_else_are_refused(run, source, tmp_path):
    with pytest.raises(InputError, match="source: holds a packed data set without proposals"):
        run(source)
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.jpg").touch()
    with pytest.raises(InputError, match="photos: exists and holds no proposals; choose another"):
        run(tmp_path / "photos")
    with pytest.raises(InputError, match=r"a\.jpg: exists and holds no proposals"):
        run(tmp_path / "photos" / "a.jpg")
    with pytest.raises(InputError, match="cannot be written"):
        run(tmp_path / "photos" / "a.jpg" / "out")
    assert [path.name for path in (tmp_path / "photos").iterdir()] == ["a.jpg"]


def test_a_set_that_has_proposals_is_refused(run, tmp_path):
    run(tmp_path / "once")
    with pytest.raises(InputError, match=r"source: already has proposals \(corners\)"):
        run(tmp_path / "twice", folder=tmp_path / "once")


def test_a_second_process_on_the_same_folder_is_refused(run, tmp_path):
    with pytest.raises(Stop):
        run(tmp_path / "out", stop_at_once)
    with FileLock(tmp_path / "out" / ".unfinished" / "lock"), pytest.raises(InputError, match="another process"):
        run(tmp_path / "out")
    run(tmp_path / "out")


def test_sets_whose_shards_have_the_same_names_are_refused(run, make_set, tmp_path):
    for name, first in (("a", 0), ("b", 100)):
        make_set(tmp_path / name, (2,), first_id=first)
    both = read_shards([str(tmp_path / "a"), str(tmp_path / "b")])
    with pytest.raises(InputError, match=r"a \+ b: several shards have the same name"):
        write_proposals(
            both, CACHE, tmp_path / "out", FromPixels(corner_box), "corners", workers=1, console=Console(quiet=True)
        )


def test_a_log_file_gets_the_lines_of_all_progress(run, tmp_path):
    with (tmp_path / "log").open("w") as log:
        run(tmp_path / "out", console=Console(file=log, width=100))
    lines = (tmp_path / "log").read_text().splitlines()
    count = len(ShardReader(read_shards(str(tmp_path / "out")), CACHE))
    assert lines[0].startswith(f"proposing for source: 1 of {count}, ")
    assert lines[-1] == f"proposing for source: {count} of {count}, 0:00 left"


def test_what_is_selected_of_a_set_is_what_gets_proposals(run, source, tmp_path):
    index = run(tmp_path / "out", folder=source / "shard-000001.tar")
    assert [shard.name for shard in index.shards] == ["shard-000001.tar"]
    reader = ShardReader(read_shards(str(tmp_path / "out")), CACHE)
    assert reader.read(0).proposals[:, 4].tolist() == [4]
    assert json.loads((tmp_path / "out" / "index.json").read_text())["proposals"]["method"] == "corners"
