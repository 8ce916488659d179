"""Write a folder that appears under its final name only when it is complete."""

import os
import shutil
import socket
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from glob import escape
from pathlib import Path

from lightning_rcnn.data.pack.packed_files import file_of_others, is_packed_or_splits
from lightning_rcnn.errors import InputError


@contextmanager
def atomic_folder(final: Path, *, overwrite: bool, splits: Collection[str] = ()) -> Iterator[Path]:
    """Yield a new temporary folder beside `final`, which a rename turns into `final` at the end of the block.

    An exception removes it. A killed process leaves it under its hidden temporary name, which contains host and
    process; the next call for the same `final` removes it.

    Args:
        final: path that does not exist, or of an empty folder, or of a packed data set to replace.
        overwrite: whether to replace a packed data set once the new one is complete.
        splits: names of the splits that are packed into the folder; a set may have these and usual ones.

    Raises:
        InputError: `final` exists and must not be replaced, or holds files of others, or the folder cannot be written.
    """
    final = Path(os.path.realpath(final))
    temporary = _sibling(final, "partial")
    try:
        final.parent.mkdir(parents=True, exist_ok=True)
        _remove_leftovers(final)
        _require_replaceable(final, overwrite, splits)
        temporary.mkdir()
        yield temporary
        _require_replaceable(final, overwrite, splits)  # again: files may have come while the set was packed
        _publish(temporary, final)
    except OSError as error:
        raise InputError(f"{final}: cannot be written ({error.strerror}); choose another folder") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _require_replaceable(final: Path, overwrite: bool, splits: Collection[str]) -> None:
    if not final.exists() or (final.is_dir() and not any(final.iterdir())):
        return
    if not is_packed_or_splits(final, splits):
        raise InputError(f"{final}: exists and is not a packed data set; choose another folder")
    if not overwrite:
        raise InputError(
            f"{final}: already holds a packed data set; choose another folder or add --overwrite (nothing is appended: "
            "pack all sources into one set, or train with both folders)"
        )
    if (other := file_of_others(final)) is not None:
        raise InputError(
            f"{final}: --overwrite would remove {other}, which is no part of the packed set; move it, or choose "
            "another folder"
        )


def _sibling(final: Path, role: str) -> Path:
    return final.with_name(f".{final.name}.{socket.gethostname()}.{os.getpid()}.{role}")


def _publish(temporary: Path, final: Path) -> None:
    """Rename the folder to its final name; a previous folder is renamed first, since none can be replaced directly."""
    if final.exists() and any(final.iterdir()):
        replaced = _sibling(final, "replaced")
        final.rename(replaced)
        temporary.rename(final)
        shutil.rmtree(replaced)
    else:
        temporary.rename(final)


def _remove_leftovers(final: Path) -> None:
    """Remove leftovers of dead processes on this host; other hosts' cannot be checked."""
    prefix = f".{final.name}.{socket.gethostname()}."
    for leftover in final.parent.glob(f"{escape(prefix)}*"):
        process, _, role = leftover.name.removeprefix(prefix).partition(".")
        if role not in ("partial", "replaced") or not process.isdigit() or _is_alive(int(process)):
            continue
        if role == "replaced" and not final.exists():  # the process was killed between the two renames
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
