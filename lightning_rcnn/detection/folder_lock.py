"""Lock of a folder of results: one call of `detect` at a time writes there, or each image would have two lines.

It is a POSIX record lock: the system frees it when its process ends in any way, and forked workers do not inherit it.
"""

import errno
import fcntl
from pathlib import Path
from typing import IO

from lightning_rcnn.errors import InputError

LOCK_FILE = ".lock"
_HELD = (errno.EACCES, errno.EAGAIN)


def lock_folder(folder: Path) -> IO[bytes]:
    """Lock a folder until the returned file is closed, or the process ends; on a file system without locks do nothing.

    Raises:
        InputError: another process holds it.
        OSError: the file of the lock cannot be written.
    """
    file = (folder / LOCK_FILE).open("ab")
    try:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in _HELD:
            file.close()
            raise InputError(
                f"--out {folder}: another `detect` writes there; wait for its end, or give another folder "
                "(--processes shares images among processes)"
            ) from error
    return file
