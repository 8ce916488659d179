"""The run folder of a start that is refused: what the start has made of it is removed again."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from lightning_rcnn.cli.run_lock import LOCK


def missing_folders(folder: Path) -> list[Path]:
    """Return a folder and its parents as far as they do not exist, the innermost first."""
    return [path for path in (folder, *folder.parents) if not path.exists()]


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
