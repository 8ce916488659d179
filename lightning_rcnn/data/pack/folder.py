"""A folder that appears under its final name only when it is whole."""

import os
import shutil
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from glob import escape
from pathlib import Path

from lightning_rcnn.data.index import INDEX_NAME
from lightning_rcnn.errors import InputError


@contextmanager
def appearing_folder(final: Path, *, overwrite: bool) -> Iterator[Path]:
    """Give a new folder beside `final`; when the block ends without an exception, it becomes `final` by one rename.

    After an exception it is gone. A process that is killed leaves it under its temporary name, a hidden one that tells
    host and process; the next call for the same `final` removes it.

    Args:
        final: must not exist, be empty, or be a packed data set that may be replaced.
        overwrite: replace a packed data set, once the new one is whole.

    Raises:
        InputError: `final` exists and stays, or nothing can be written there.
    """
    final = Path(os.path.realpath(final))
    temporary = _sibling(final, "partial")
    try:
        final.parent.mkdir(parents=True, exist_ok=True)
        _remove_leftovers(final)
        _require_replaceable(final, overwrite)
        temporary.mkdir()
        yield temporary
        _publish(temporary, final)
    except OSError as error:
        raise InputError(f"{final}: cannot be written ({error.strerror}); choose another folder") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _require_replaceable(final: Path, overwrite: bool) -> None:
    if not final.exists() or (final.is_dir() and not any(final.iterdir())):
        return
    if not (final / INDEX_NAME).is_file():
        raise InputError(f"{final}: exists and is no packed data set, so it is left alone; choose another folder")
    if not overwrite:
        raise InputError(f"{final}: holds a packed data set already; choose another folder or add --overwrite")


def _sibling(final: Path, role: str) -> Path:
    return final.with_name(f".{final.name}.{socket.gethostname()}.{os.getpid()}.{role}")


def _publish(temporary: Path, final: Path) -> None:
    """No call of the system replaces a folder that is not empty, so the old one steps aside for a moment."""
    if final.exists() and any(final.iterdir()):
        replaced = _sibling(final, "replaced")
        final.rename(replaced)
        temporary.rename(final)
        shutil.rmtree(replaced)
    else:
        temporary.rename(final)


def _remove_leftovers(final: Path) -> None:
    """Remove what killed processes of this host left; of those of another host it cannot be known whether they live."""
    prefix = f".{final.name}.{socket.gethostname()}."
    for leftover in final.parent.glob(f"{escape(prefix)}*"):
        process, _, role = leftover.name.removeprefix(prefix).partition(".")
        if role not in ("partial", "replaced") or not process.isdigit() or _is_alive(int(process)):
            continue
        if role == "replaced" and not final.exists():  # killed between the two renames
            leftover.rename(final)
        else:
            shutil.rmtree(leftover)


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
