"""A process that has done all that ranks have in common, and its forks, the ranks of this node."""

import os
import signal
import socket
import stat
import sys
import traceback
from collections.abc import Mapping, Sequence
from contextlib import suppress
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

from lightning_rcnn.checkpoints.in_memory import FOLDER_VARIABLE, STEPS_VARIABLE
from lightning_rcnn.errors import InputError
from lightning_rcnn.healing.layout import Layout
from lightning_rcnn.launchers import HEALING
from lightning_rcnn.stop_signals import SIGNALS, listen, send_at_end_of_parent

FAILED = 70
"""Status of a rank after an error that is not the user's: `EX_SOFTWARE` in sysexits.h."""


class RefusedError(Exception):
    """The command cannot work; what is wrong is said.

    Args:
        status: its exit status.
    """

    def __init__(self, status: int) -> None:
        super().__init__(f"the command ended with status {status}")
        self.status = status


def environment_of(layout: Layout, token: str, folder: Path, every_n_steps: int) -> dict[str, str]:
    """Return the variables that all ranks of a layout have, as torchrun's have them; see `launchers.py`.

    Args:
        layout: how many ranks train.
        token: text that only nodes of this training have.
        folder: folder for the checkpoint in memory.
        every_n_steps: steps between two checkpoints there.
    """
    environment = {
        "WORLD_SIZE": str(layout.nodes * layout.ranks),
        "LOCAL_WORLD_SIZE": str(layout.ranks),
        "GROUP_WORLD_SIZE": str(layout.nodes),
        "TORCHELASTIC_RUN_ID": f"{HEALING} {token}",
        "RANK": "0",
        "LOCAL_RANK": "0",
        FOLDER_VARIABLE: str(folder),
        STEPS_VARIABLE: str(every_n_steps),
    }
    if cores := os.environ.get("SLURM_CPUS_PER_TASK"):  # SLURM's task is the launcher
        environment["SLURM_CPUS_PER_TASK"] = str(max(1, int(cores) // layout.ranks))
    return environment


class PreparedRanks:
    """The process of one layout; it starts at once, and can start ranks as soon as it says "prepared".

    It says over `pipe`: ("prepared", images of a rank's batch); ("started", local rank -> process id); ("rank", local
    rank, exit status); ("ended",).

    Args:
        words: command of the training, and its options.
        environment: variables of all its ranks.
        death_signal: signal that ranks get when this process is killed.

    Attributes:
        pipe: what it says.
        pids: local rank -> process id, of the ranks that were started last and have not ended.
        has_ranks: whether the last start has forked its ranks.
    """

    def __init__(self, words: Sequence[str], environment: Mapping[str, str], death_signal: int) -> None:
        self.pipe, other = get_context("fork").Pipe()
        self.pids: dict[int, int] = {}
        self.has_ranks = False
        self._process = get_context("fork").Process(
            target=_prepare, args=(list(words), dict(environment), death_signal, other, self.pipe)
        )
        before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)  # a signal is for its ranks, which will listen
        self._process.start()
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        other.close()

    def start(self, environments: Sequence[Mapping[str, str]]) -> None:
        """Start a rank with each of these variables; "started" follows."""
        self.pids, self.has_ranks = {}, False
        self.pipe.send([dict(environment) for environment in environments])

    def note_ranks(self, pids: dict[int, int]) -> None:
        """Note the processes that it says are "started"."""
        self.pids, self.has_ranks = pids, True

    def signal(self, number: int) -> None:
        """Send a signal to the ranks that are known."""
        for pid in self.pids.values():
            with suppress(ProcessLookupError):
                os.kill(pid, number)

    def end(self) -> None:
        """End all ranks at once; "ended" follows."""
        with suppress(OSError):  # it is gone, and with it the ranks
            self.pipe.send(None)

    def status(self) -> int:
        """Wait for the end of the process itself, and return its exit status."""
        self._process.join()
        assert self._process.exitcode is not None
        return self._process.exitcode

    def close(self) -> None:
        """End the process and its ranks."""
        self._process.kill()
        self._process.join()
        self.pipe.close()


def _prepare(words: list[str], environment: dict[str, str], death_signal: int, pipe: Connection, other: Any) -> None:
    """Run the command up to the place where its ranks part; both this process and each rank end with its status."""
    other.close()
    _close_inherited_sockets(pipe.fileno())
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal sends Ctrl-C to the ranks itself
    send_at_end_of_parent(signal.SIGKILL)
    os.environ.update(environment)
    import torch
    from lightning.pytorch.utilities.rank_zero import rank_zero_only

    from lightning_rcnn.cli import forking
    from lightning_rcnn.cli import main as run

    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # OpenMP's threads would be missing in ranks, which would wait for them

    def fork(batch_size: int) -> None:
        if torch.cuda.is_initialized():
            raise InputError("model or data use the GPU while they are built, and ranks cannot be forked after that")
        _serve(pipe, batch_size, death_signal)
        torch.set_num_threads(threads)
        rank_zero_only.rank = int(os.environ["RANK"])  # type: ignore[attr-defined]  # read when Lightning was imported

    forking.fork_ranks_by(fork)
    try:
        status = run(words)
    except SystemExit as stop:
        status = stop.code if isinstance(stop.code, int) else FAILED
    except BaseException:
        traceback.print_exc()
        status = FAILED
    sys.exit(status)


def _serve(pipe: Connection, batch_size: int, death_signal: int) -> None:
    """Start and end ranks as the launcher asks; return in ranks only."""
    pipe.send(("prepared", batch_size))
    ranks: dict[int, tuple[int, int]] = {}  # file descriptor of a process -> local rank, process id
    while True:
        for ready in wait([pipe, *ranks]):
            if isinstance(ready, int):
                rank, pid = ranks.pop(ready)
                pipe.send(("rank", rank, _reap(ready, pid)))
                continue
            try:
                environments = pipe.recv()
            except EOFError:  # the launcher is gone; ranks get their death signal
                os._exit(1)
            if environments is None:
                for _, pid in ranks.values():  # all before the first is waited for: each frees much memory
                    os.kill(pid, signal.SIGKILL)
                for descriptor, (_, pid) in ranks.items():
                    _reap(descriptor, pid)
                ranks.clear()
                pipe.send(("ended",))
                break  # what else was ready is gone
            sys.stdout.flush()
            sys.stderr.flush()
            for rank, environment in enumerate(environments):
                pid = os.fork()
                if pid == 0:
                    pipe.close()
                    for descriptor in ranks:
                        os.close(descriptor)
                    _become(environment, death_signal)
                    return
                ranks[os.pidfd_open(pid)] = rank, pid
            pipe.send(("started", dict(ranks.values())))


def _become(environment: Mapping[str, str], death_signal: int) -> None:
    """Make this process a rank."""
    listen()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    send_at_end_of_parent(death_signal)
    os.environ.update(environment)


def _reap(descriptor: int, pid: int) -> int:
    os.close(descriptor)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def _close_inherited_sockets(kept: int) -> None:
    """Let go of the launcher's connections, which peers take for it as long as somebody holds them.

    The numbers stay in use, because objects of the launcher that live on here would close them again.
    """
    null = os.open(os.devnull, os.O_RDWR)
    for name in os.listdir("/proc/self/fd"):
        with suppress(OSError):
            if int(name) != kept and int(name) > 2 and stat.S_ISSOCK(os.fstat(int(name)).st_mode):
                os.dup2(null, int(name))
    os.close(null)


def free_port() -> int:
    """Return a port that nobody uses now."""
    with socket.socket() as free:
        free.bind(("", 0))
        return int(free.getsockname()[1])
