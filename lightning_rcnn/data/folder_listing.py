"""List the files of a folder."""

import os
from pathlib import Path
from typing import NoReturn

from lightning_rcnn.errors import InputError

_OF_SYSTEMS = ("__MACOSX", "lost+found", "System Volume Information", "$RECYCLE.BIN")
"""Folders that operating systems add to archives and disks; some may not be listed."""


def list_files(folder: Path) -> list[str]:
    """Return the sorted paths of all files relative to the folder, with "/" between the parts, without hidden files
    and folders of operating systems.

    Links to other folders are followed, to each folder only once.

    Raises:
        InputError: a folder cannot be listed.
    """
    root = os.path.realpath(folder)
    visited: set[str] = set()
    files = []
    for parent, folders, names in os.walk(folder, onerror=_refuse, followlinks=True):
        folders[:] = [
            name for name in folders if not _is_hidden(name) and _is_new(os.path.join(parent, name), root, visited)
        ]
        inside = os.path.relpath(parent, folder)
        beginning = "" if inside == os.curdir else os.path.join(inside, "")
        files += [beginning + name for name in names if not _is_hidden(name)]
    return sorted(file.replace(os.sep, "/") for file in files)


def _refuse(error: OSError) -> NoReturn:
    raise InputError(f"{error.filename}: cannot be listed ({error.strerror}); check its permissions") from error


def _is_new(path: str, root: str, visited: set[str]) -> bool:
    """Return whether a folder is not a link, or a link to a folder that the search would not visit otherwise."""
    if not os.path.islink(path):
        return True
    target = os.path.realpath(path)
    if target in visited or os.path.commonpath((target, root)) in (target, root):
        return False
    visited.add(target)
    return True


def _is_hidden(name: str) -> bool:
    return name.startswith(".") or name in _OF_SYSTEMS
