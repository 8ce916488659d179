"""Copies of one folder on several machines: the folder is the truth, and nobody overwrites what he has not read."""

import shutil
from pathlib import Path

import pytest

from lightning_rcnn.data import working_copy
from lightning_rcnn.data.fetch import FetchPolicy, send_file
from lightning_rcnn.data.working_copy import ChangedElsewhereError, WorkingCopy
from lightning_rcnn.errors import InputError


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Open the copy of a machine; the folder itself is `store`."""

    def open_copy(name: str) -> WorkingCopy:
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / name))
        return WorkingCopy((tmp_path / "store").as_uri(), FetchPolicy(attempts=1))

    return open_copy


def contents(folder: Path) -> dict[str, str]:
    files = (path for path in folder.rglob("*") if path.is_file() and not path.name.startswith("."))
    return {path.relative_to(folder).as_posix(): path.read_text() for path in files}


def write(copy: WorkingCopy, **files: str) -> None:
    for name, text in files.items():
        path = copy.folder / f"{name}.ckpt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def test_machines_take_turns(tmp_path: Path, machine):
    one, two = machine("one"), machine("two")
    one.pull()
    write(one, last="first", best="first")
    (one.folder / ".lock").write_text("mine")
    one.push()
    assert contents(tmp_path / "store") == {"last.ckpt": "first", "best.ckpt": "first"}
    two.pull()
    times = {(copy.folder / "last.ckpt").stat().st_mtime for copy in (two, machine("three")) if copy.pull() is None}
    assert len(times) == 1  # ranks on several machines compare them
    write(two, last="second, longer")
    two.push()
    one.pull()
    assert contents(one.folder) == contents(two.folder) == contents(tmp_path / "store")
    assert not list((tmp_path / "store").rglob(".*"))


def test_only_what_changed_is_sent(tmp_path: Path, machine, monkeypatch: pytest.MonkeyPatch):
    sent = []
    monkeypatch.setattr(working_copy, "send_file", lambda file, url, policy: sent.append(file.name) or send(file, url))

    def send(file: Path, url: str) -> None:
        target = tmp_path / "store" / file.name
        target.parent.mkdir(exist_ok=True)
        shutil.copy(file, target)

    one = machine("one")
    write(one, last="a", best="a")
    (one.folder / "metrics.json").write_text("{}")
    one.push()
    assert sent == ["metrics.json", "best.ckpt", "last.ckpt"]  # a checkpoint is there after what belongs to it
    sent.clear()
    write(one, last="more")
    one.push()
    one.push()
    assert sent == ["last.ckpt"]


def test_nobody_overwrites_what_he_has_not_read(tmp_path: Path, machine):
    one, two = machine("one"), machine("two")
    write(one, last="first")
    one.push()
    two.pull()
    write(two, last="second, longer")
    two.push()
    write(one, last="third, the longest")
    with pytest.raises(ChangedElsewhereError, match=r"store/last.ckpt: was written by another process since .*one"):
        one.push()
    assert contents(tmp_path / "store") == {"last.ckpt": "second, longer"}


def test_what_could_not_be_sent_is_kept_and_tried_again(tmp_path: Path, machine, monkeypatch: pytest.MonkeyPatch):
    one = machine("one")
    write(one, last="first")
    one.push()
    write(one, last="second, longer")
    one.pull()
    assert contents(one.folder) == {"last.ckpt": "first"}  # who was killed while sending resumes from what all have

    def unreachable(file: Path, url: str, policy: FetchPolicy) -> None:
        raise InputError("no network")

    write(one, last="second, longer", new="new")
    with monkeypatch.context() as patch:
        patch.setattr(working_copy, "send_file", unreachable)
        with pytest.raises(InputError, match="no network"):
            one.push()
    one.pull()
    assert contents(one.folder) == {"last.ckpt": "second, longer", "new.ckpt": "new"}
    one.push()
    assert contents(tmp_path / "store") == contents(one.folder)


def test_of_two_who_start_at_once_the_second_overwrites_nothing(tmp_path: Path, machine):
    one, two = machine("one"), machine("two")
    one.pull()
    two.pull()
    write(one, last="of one")
    write(two, last="of the other")
    one.push()
    with pytest.raises(ChangedElsewhereError, match=r"store/last.ckpt: was written by another process"):
        two.push()
    assert contents(tmp_path / "store") == {"last.ckpt": "of one"}


def test_what_arrived_without_an_answer_is_ones_own(tmp_path: Path, machine, monkeypatch: pytest.MonkeyPatch):
    one, two = machine("one"), machine("two")
    write(one, last="first")
    one.push()
    two.pull()
    write(one, last="second, longer")

    def arrives_without_answer(file: Path, url: str, policy: FetchPolicy) -> None:
        send_file(file, url, policy)
        raise InputError("no answer")

    for next_file in ("third, the longest", "of one, too"):
        with monkeypatch.context() as patch:
            patch.setattr(working_copy, "send_file", arrives_without_answer)
            with pytest.raises(InputError, match="no answer"):
                one.push()
        write(one, last=next_file)
        one.push()
        assert contents(tmp_path / "store") == {"last.ckpt": next_file}
        write(one, last=f"{next_file}!")
    with monkeypatch.context() as patch:
        patch.setattr(working_copy, "send_file", arrives_without_answer)
        with pytest.raises(InputError, match="no answer"):
            one.push()
    two.pull()
    write(two, last="of the other machine")
    two.push()
    with pytest.raises(ChangedElsewhereError):
        one.push()


def test_files_of_a_command_that_still_runs_stay_and_removed_ones_are_not_missed(tmp_path: Path, machine, monkeypatch):
    one = machine("one")
    write(one, last="first")
    one.push()
    (one.folder / "predict").mkdir()
    (one.folder / "predict" / "results.json").write_text("[]")
    one.pull()
    assert contents(one.folder) == {"last.ckpt": "first", "predict/results.json": "[]"}

    def removes_the_next(file: Path, url: str, policy: FetchPolicy) -> None:
        send_file(file, url, policy)
        (one.folder / "z.ckpt").unlink(missing_ok=True)

    write(one, a="a", z="z")
    monkeypatch.setattr(working_copy, "send_file", removes_the_next)
    one.push()
    assert contents(tmp_path / "store") == {"last.ckpt": "first", "predict/results.json": "[]", "a.ckpt": "a"}


def test_what_was_removed_there_is_removed_here(tmp_path: Path, machine):
    one = machine("one")
    write(one, last="first")
    one.push()
    shutil.rmtree(tmp_path / "store")
    one.pull()
    assert contents(one.folder) == {}
    one.require_writable()
    assert contents(tmp_path / "store") == {}
