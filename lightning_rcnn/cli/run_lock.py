"""Lock of a run folder: one training at a time writes there.

It is a POSIX record lock: the system frees it when its process ends in any way, and forked workers do not inherit it
(unlike `flock`, which `filelock` uses). Network file systems support it too.
"""

import errno
import fcntl
import json
import os
import socket
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from lightning.pytorch.utilities.rank_zero import rank_zero_warn

from lightning_rcnn.errors import InputError
from lightning_rcnn.files import naming_full_disk
from lightning_rcnn.launchers import healing_job

LOCK = ".lock"
"""File in the run folder that names its holder, or the last one."""
LOCK_TIMEOUT = 60.0
"""Seconds that a requeued job waits for its previous start to end, and ranks that start again for a lost node's."""
_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)


def hold_for(folder: Path, changes: Sequence[str]) -> IO[str] | None:
    """Lock a run folder for this training; see `_hold`.

    Args:
        folder: run folder.
        changes: settings that differ from the run in the folder, as "key before -> now".

    Raises:
        InputError: another training holds the folder, or another task of this job's array used it with other settings.
    """
    holder = _last_holder(folder)
    array, task = holder.get("array"), holder.get("task")
    if changes and array and array == _identity()["array"] and task != _identity()["task"]:
        raise InputError(
            f"{folder} is the run of task {task} of this job array, with other settings: {', '.join(changes)}; give "
            f"each task a --run_dir of its own, for example {folder}-$SLURM_ARRAY_TASK_ID"
        )
    return _hold(folder)


@contextmanager
def briefly_held(folder: Path) -> Iterator[bool]:
    """Keep trainings out of a run folder for a moment; yield False if one holds it."""
    if not (folder / LOCK).exists():
        yield True
        return
    with (folder / LOCK).open("a") as file:
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            yield error.errno in _NO_LOCKS
        else:
            yield True


def is_held(folder: Path) -> bool:
    """Tell whether a training holds a run folder now; False if the file system has no locks."""
    if not os.access(folder / LOCK, os.R_OK):
        return False
    with (folder / LOCK).open() as file:
        try:
            # Shared, so that several readers do not take each other for a training.
            fcntl.lockf(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError as error:
            return error.errno not in _NO_LOCKS
    return False


def _last_holder(folder: Path) -> dict[str, Any]:
    """Return who holds a run folder or held it last; empty if nobody did."""
    try:
        return json.loads((folder / LOCK).read_text())
    except (OSError, ValueError):
        return {}


def _hold(folder: Path) -> IO[str] | None:
    """Lock a run folder until the returned file is closed; None if the file system has no locks.

    Raises:
        InputError: another training holds the lock.
    """
    deadline = time.monotonic() + LOCK_TIMEOUT
    while True:
        folder.mkdir(parents=True, exist_ok=True)
        try:
            file = (folder / LOCK).open("a+")
        except FileNotFoundError:  # a start that was refused has just removed the folder
            continue
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            file.close()
            if error.errno in _NO_LOCKS:
                rank_zero_warn(f"{folder}: its file system has no locks; make sure that no other training writes there")
                return None
            holder = _last_holder(folder)
            if holder.get("job") and holder["job"] == _identity()["job"] and time.monotonic() < deadline:
                time.sleep(1.0)
                continue
            raise InputError(_refusal(folder, holder)) from error
        if _is_in_place(file):
            break
        file.close()
    with naming_full_disk(folder / LOCK):
        file.truncate(0)
        file.write(json.dumps(_identity()))
        file.flush()
    return file


def _is_in_place(file: IO[str]) -> bool:
    """Tell whether a file still has its name: a start that was refused removes the lock that it held."""
    try:
        return os.path.samestat(os.fstat(file.fileno()), os.stat(file.name))
    except FileNotFoundError:
        return False


def _refusal(folder: Path, holder: Mapping[str, Any]) -> str:
    job = f", job {holder['job']}" if holder.get("job") else ""
    example = f", for example {folder}-$SLURM_ARRAY_TASK_ID" if _identity()["array"] else ""
    return (
        f"{folder}: another training writes there (process {holder.get('pid')} on {holder.get('host')}{job}): "
        f"give this one a --run_dir of its own{example}"
    )


def _identity() -> dict[str, Any]:
    array, task = os.environ.get("SLURM_ARRAY_JOB_ID", ""), os.environ.get("SLURM_ARRAY_TASK_ID", "")
    job = f"{array}_{task}" if array else os.environ.get("SLURM_JOB_ID", "") or healing_job(os.environ)
    return {"host": socket.gethostname(), "pid": os.getpid(), "job": job, "array": array, "task": task}
