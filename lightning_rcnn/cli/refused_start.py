"""The run folder of a start that is refused: what the start has made of it is removed again."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, NamedTuple

from lightning_rcnn.cli.output_paths import require_folder
from lightning_rcnn.cli.run_lock import LOCK, hold_for


class HeldFolder(NamedTuple):
    """A run folder that this process trains in.

    Attributes:
        lock: its lock, held until the file is closed; None if the file system has no locks.
        made: folders that were made for it, the innermost first. Only who holds the lock may remove them: another start
            may have made them at the same time, and train there.
    """

    lock: IO[str] | None
    made: list[Path]


def make_and_hold(folder: Path, changes: Sequence[str]) -> HeldFolder:
    """Make a run folder if it is missing, and lock it for this training.

    Args:
        folder: run folder.
        changes: settings that differ from the run in the folder; see `hold_for`.

    Raises:
        InputError: the folder cannot be written, or see `hold_for`.
    """
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    require_folder(folder, "--run_dir")
    return HeldFolder(hold_for(folder, changes), missing)


@contextmanager
def removed_if_unused(made: Callable[[], Sequence[Path]]) -> Iterator[None]:
    """Remove folders that a command has made, if it ends with an error and nothing but its lock lies in them.

    Args:
        made: returns the folders, the innermost first.
    """
    try:
        yield
    except BaseException:
        with suppress(OSError):  # a folder that is in use stays
            _remove_unused(made())
        raise


def _remove_unused(folders: Sequence[Path]) -> None:
    if not folders or any(path.name != LOCK for path in folders[0].iterdir()):
        return
    (folders[0] / LOCK).unlink(missing_ok=True)
    for folder in folders:
        folder.rmdir()
