"""What becomes of a run whose folder in a cloud cannot be written."""

from pathlib import Path

import pytest

from lightning_rcnn.cli.run_copy import (
    copy_of_run,
    in_copy,
    push_after_checkpoint,
    push_or_warn,
    pushed_at_end,
)
from lightning_rcnn.data.fetch import FetchPolicy
from lightning_rcnn.data.working_copy import ChangedElsewhereError, WorkingCopy
from lightning_rcnn.errors import InputError


class Failing(WorkingCopy):
    """A copy that is sent nowhere."""

    def __init__(self, error: Exception | None) -> None:
        super().__init__("s3://bucket/run", FetchPolicy())
        self.error = error
        self.pushes = 0

    def push(self) -> None:
        self.pushes += 1
        if self.error is not None:
            raise self.error


def test_a_training_goes_on_where_the_network_fails_and_stops_where_another_writes():
    with pytest.warns(UserWarning, match=r"no network; files that are not sent are in .*/s3/bucket/run, and are tried"):
        push_or_warn(Failing(InputError("no network")))
    with pytest.raises(ChangedElsewhereError):
        push_or_warn(Failing(ChangedElsewhereError("somebody")))


def test_a_checkpoint_in_memory_sends_nothing(tmp_path):
    copy = Failing(None)
    push_after_checkpoint(copy, tmp_path / "memory.ckpt")
    assert copy.pushes == 0
    push_after_checkpoint(copy, copy.folder / "checkpoints" / "last.ckpt")
    assert copy.pushes == 1


def test_a_command_sends_its_files_however_it_ends():
    fine = Failing(None)
    with pushed_at_end(lambda: fine):
        pass
    with pytest.raises(KeyboardInterrupt), pushed_at_end(lambda: fine):
        raise KeyboardInterrupt
    assert fine.pushes == 2
    with pushed_at_end(lambda: None):
        pass
    with pytest.raises(InputError, match="no network"), pushed_at_end(lambda: Failing(InputError("no network"))):
        pass
    with pytest.warns(UserWarning, match="no network"), pytest.raises(ValueError, match="its own"):  # noqa: SIM117
        with pushed_at_end(lambda: Failing(InputError("no network"))):
            raise ValueError("its own")


def test_whose_run_folder_is_in_a_cloud(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    url = (tmp_path / "run").as_uri()
    best = f"{url}/checkpoints/best.ckpt"
    assert copy_of_run(None, None, "fit") is None
    assert copy_of_run("runs/mine", None, "fit") is None
    assert copy_of_run(None, best, "fit") is None  # it goes on from there, in a folder of its own
    assert copy_of_run(None, f"{url}/weights.ckpt", "validate") is None
    copy = copy_of_run(None, best, "validate")
    assert copy is not None
    assert copy.url == url
    assert in_copy(copy, best) == str(copy.folder / "checkpoints/best.ckpt")
    assert in_copy(copy, "best") == "best"
    with pytest.raises(InputError, match="--run_dir https://host/run: nothing can be written there"):
        copy_of_run("https://host/run", None, "fit")
