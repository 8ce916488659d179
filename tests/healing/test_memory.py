"""The folder for checkpoints in memory: made, locked, removed."""

import tempfile
import threading

import torch

from lightning_rcnn.checkpoints.in_memory import NAME
from lightning_rcnn.files import atomic_save
from lightning_rcnn.healing import memory


def test_the_folder_of_a_launcher_that_was_killed_is_removed(tmp_path):
    with memory.memory_folder(tmp_path) as own:
        left = tmp_path / f"{memory.PREFIX}left"
        left.mkdir()
        (left / NAME).touch()
        with memory.memory_folder(tmp_path) as other:
            assert set(tmp_path.iterdir()) == {own, other}
    assert list(tmp_path.iterdir()) == []


def test_a_launcher_that_has_not_locked_its_folder_yet_keeps_it(tmp_path, monkeypatch):
    """Another one starts between the making of the folder and its lock."""
    make, second = tempfile.mkdtemp, []

    def make_while_another_starts(**options):
        folder = make(**options)
        if not second:
            second.append(threading.Thread(target=lambda: memory.memory_folder(tmp_path).__enter__()))
            second[0].start()
            second[0].join(0.3)
        return folder

    monkeypatch.setattr(tempfile, "mkdtemp", make_while_another_starts)
    with memory.memory_folder(tmp_path) as own:
        second[0].join()
        assert (own / memory.LOCK).exists()


def test_the_step_of_the_checkpoint(tmp_path):
    assert memory.saved_step(tmp_path) == -1
    atomic_save({"epoch": 1, "global_step": 7, "state_dict": {"weight": torch.zeros(1)}}, tmp_path / NAME)
    assert memory.saved_step(tmp_path) == 7


def test_a_machine_without_a_file_system_in_memory_is_named(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(memory, "MEMORY", tmp_path)
    assert memory.place_for_folder() == tmp_path
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(memory, "MEMORY", tmp_path / "shm")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    assert memory.place_for_folder() == tmp_path
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"lightning-rcnn: {tmp_path}/shm is missing: ")
    assert f" lies in {tmp_path}, " in line
