"""Messages of several ranks, printed once."""

import hashlib
import os
import sys
import tempfile
import time
from pathlib import Path

from lightning_rcnn import slurm_step

HEAD_START = 3.0
"""Seconds that other nodes wait for the first one; most launchers end all nodes when it ends."""
MEMORY = 60.0
"""Seconds within which ranks of a node print the same message once."""
_STEP = ("SLURM_JOB_ID", "SLURM_STEP_ID", "SLURM_RESTART_COUNT")
_OF_CHILDREN = ("TORCHELASTIC_RUN_ID", "OMPI_COMM_WORLD_LOCAL_RANK", "MV2_COMM_WORLD_LOCAL_RANK", "MPI_LOCALRANKID")
_NODE_NUMBERS = ("SLURM_NODEID", "GROUP_RANK", "NODE_RANK")


def say(message: str) -> None:
    """Print a line, unless another rank of this launch has printed the same; nothing if it is empty."""
    if message and _is_first(message, _launch_name()):
        print(message, file=sys.stderr, flush=True)


def _launch_name() -> str:
    """Return text shared by the ranks of a node and by no other launch; empty for a single process."""
    if slurm_step.is_in_step(os.environ):
        return "slurm " + " ".join(os.environ.get(name, "") for name in _STEP)
    if any(name in os.environ for name in _OF_CHILDREN):
        return f"children of {os.getppid()}"
    rank = os.environ.get("LOCAL_RANK")  # Lightning sets it for the processes it starts, and for itself
    return "" if rank is None else f"children of {os.getpid() if rank == '0' else os.getppid()}"


def _is_first(message: str, launch: str) -> bool:
    """Tell whether this rank is the first on its node to print the message; other nodes give the first a head start."""
    if not launch:
        return True
    if any(os.environ.get(name, "0") != "0" for name in _NODE_NUMBERS):
        time.sleep(HEAD_START)
    folder = Path(tempfile.gettempdir()) / f"lightning-rcnn-{os.getuid()}"
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        _forget_old(folder)
        (folder / hashlib.sha256(f"{launch}\n{message}".encode()).hexdigest()).touch(exist_ok=False)
    except FileExistsError:
        return False
    except OSError:  # better twice than never
        return True
    return True


def _forget_old(folder: Path) -> None:
    for path in folder.iterdir():
        if time.time() - path.stat().st_mtime > MEMORY:
            path.unlink(missing_ok=True)
