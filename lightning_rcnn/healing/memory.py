"""The folder of a launcher in the memory of its machine."""

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from lightning_rcnn.checkpoints.header import position_of
from lightning_rcnn.checkpoints.in_memory import NAME
from lightning_rcnn.healing import say

MEMORY = Path("/dev/shm")
PREFIX = f"lightning-rcnn-{os.getuid()}-"
LOCK = "lock"


def place_for_folder() -> Path:
    """Return where `memory_folder` makes its folder: in memory, or, which is said, where temporary files lie."""
    if MEMORY.is_dir():
        return MEMORY
    place = Path(tempfile.gettempdir())
    say(f"{MEMORY} is missing: the checkpoint for lost ranks lies in {place}, and steps may wait for its disk")
    return place


@contextmanager
def memory_folder(place: Path) -> Iterator[Path]:
    """Make a folder for checkpoints in memory, and remove it at the end, and those that killed launchers left.

    A launcher and its ranks hold a lock in theirs as long as they live.
    """
    with _locked(place):  # until ours is locked: another launcher would take it for one left behind
        for other in place.glob(f"{PREFIX}*"):
            with suppress(OSError), (other / LOCK).open("a") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(other, ignore_errors=True)
        folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=place))
        own = (folder / LOCK).open("w")
        fcntl.flock(own, fcntl.LOCK_EX)
    try:
        with own:
            yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def saved_step(folder: Path) -> int:
    """Return the step of the checkpoint in a folder; -1 if there is none."""
    path = folder / NAME
    return position_of(path)[1] if path.is_file() else -1


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    place = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(place, fcntl.LOCK_EX)
        yield
    finally:
        os.close(place)
