"""Checks of output paths before the work, not after it."""

import re
import tempfile
from contextlib import suppress
from pathlib import Path

from lightning_rcnn.errors import InputError

_URL = re.compile(r"([A-Za-z][\w+.-]*):/(?=[^/])")
"""A URL that became a path, which has no double slash."""


def require_local(path: Path, option: str) -> None:
    """Refuse a URL where a path is due; it would become a folder of that name.

    Args:
        path: path as parsed.
        option: option that gave it.

    Raises:
        InputError: it is a URL.
    """
    if match := _URL.match(str(path)):
        url = f"{match[1]}://{str(path)[match.end() :]}"
        raise InputError(f"{option} {url}: is a URL, and a path on this machine is due; copy files there or from there")


def require_folder(folder: Path, option: str) -> None:
    """Check that a folder can be written, or made and written; nothing is left there.

    Args:
        folder: folder to write into; who writes there makes it, so that a command that fails before leaves none.
        option: option that gave it, for messages.

    Raises:
        InputError: the folder is not writable.
    """
    require_local(folder, option)
    _try(folder, f"{option} {folder}", "folder")


def require_file(path: Path, option: str) -> None:
    """Check that a file can be written at `path`, as `require_folder` does; nothing is left there.

    Args:
        path: file to write.
        option: option that gave it, for messages.

    Raises:
        InputError: `path` is a folder, or not writable.
    """
    if path.is_dir():
        raise InputError(f"{option} {path}: is a folder; give the name of a file in it")
    _try(path.parent, f"{option} {path}", "path")


def _try(folder: Path, named: str, what: str) -> None:
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise InputError(f"{named}: cannot be written ({error.strerror or error}); choose another {what}") from error
    finally:
        with suppress(OSError):  # one that another process has begun to use stays
            for made in missing:
                made.rmdir()
