"""Where a command is going to write: what cannot be written is refused before the work, not after it."""

import tempfile
from pathlib import Path

from lightning_rcnn.errors import InputError


def require_folder(folder: Path, option: str) -> None:
    """Make `folder` if it is not there, and see that files can be made in it.

    Raises:
        InputError: they cannot; the message names the option.
    """
    _try(folder, f"{option} {folder}", "folder")


def require_file(path: Path, option: str) -> None:
    """See that a file can be made at `path`, in a folder that is made if it is not there.

    Raises:
        InputError: it cannot; the message names the option.
    """
    if path.is_dir():
        raise InputError(f"{option} {path}: is a folder; give the name of a file in it")
    _try(path.parent, f"{option} {path}", "place")


def _try(folder: Path, named: str, what: str) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise InputError(f"{named}: cannot be written ({error.strerror or error}); choose another {what}") from error
