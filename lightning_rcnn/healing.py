"""Ranks of one machine that start again when one of them is lost: `python -m lightning_rcnn.healing --ranks 8 fit ...`.

The job continues: no queue, no new process of the launcher, no import. The launcher imports all once and forks ranks.
One of them keeps a checkpoint in the memory of the machine (`callbacks/memory_checkpoint.py`). When a rank is killed or
fails, the launcher ends the others, which wait for it, and forks all again; they resume from that checkpoint with the
next batch. Since resuming is exact, the training ends as one that was not disturbed.

torchft 0.2 lets the other ranks go on, but only what passes through its manager heals: Lightning's loops have no second
attempt at a step, a trainer's world has one size, and counts, metrics, flags and validations of ours use torch's own
process group. Its peers also send weights without the position in the data.

| exit status | what happened |
|---|---|
| 0 | the training is complete |
| 75 | TERM or USR1: the ranks have saved; the same command resumes |
| 130 | Ctrl-C |
| 1 | wrong input, ranks that hang, or ranks that are lost again and again before a step is done; a line says which |
"""

import argparse
import ctypes
import fcntl
import os
import shutil
import signal
import socket
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from multiprocessing import get_context
from multiprocessing.connection import wait
from multiprocessing.context import ForkProcess
from pathlib import Path
from typing import Any

from lightning_rcnn.callbacks.memory_checkpoint import FOLDER_VARIABLE, NAME, STEPS_VARIABLE
from lightning_rcnn.checkpoints.header import position_of
from lightning_rcnn.stop_signals import EXIT_STATUS, INTERRUPTED, SIGNALS, listen

FAILED = 70
"""Status of a rank after an error that is not the user's: `EX_SOFTWARE` in sysexits.h."""
ATTEMPTS = 3
"""Times that ranks may be lost without a step between."""
LAST_WORDS = 30.0
"""Seconds that ranks have to end by themselves after one of them has ended."""
_MEMORY = Path("/dev/shm")
_PREFIX = f"lightning-rcnn-{os.getuid()}-"
_LOCK = "lock"
_DEATH_SIGNAL = 1  # PR_SET_PDEATHSIG of prctl(2)


def main(words: list[str] | None = None) -> int:
    """Run a command of the training on several ranks, and heal it.

    Args:
        words: options of this launcher, then the command and its options; by default those of this process.

    Returns:
        The exit status.
    """
    parser = argparse.ArgumentParser("python -m lightning_rcnn.healing", allow_abbrev=False)
    parser.add_argument("--ranks", type=int, required=True, help="processes of the training, one for each device")
    parser.add_argument("--every_n_steps", type=int, default=10, help="steps between two checkpoints in memory")
    parser.add_argument("command", choices=["fit"])
    parser.add_argument("options", nargs=argparse.REMAINDER, help="options of the command")
    given = parser.parse_args(words)
    if given.ranks < 1 or given.every_n_steps < 1:
        parser.error("--ranks and --every_n_steps: at least 1")
    for number in SIGNALS:  # until there are ranks that could save
        signal.signal(number, lambda *_: sys.exit(EXIT_STATUS))
    from lightning_rcnn.cli import training  # noqa: F401  # imported once, for all ranks to come

    with memory_folder(_MEMORY if _MEMORY.is_dir() else Path(tempfile.gettempdir())) as folder:
        return Healer(given.ranks, given.every_n_steps, folder, [given.command, *given.options]).run()


@contextmanager
def memory_folder(place: Path) -> Iterator[Path]:
    """Make a folder for checkpoints in memory, and remove it at the end, and those that killed launchers left.

    A launcher and its ranks hold a lock in theirs as long as they live.
    """
    with _locked(place):  # until ours is locked: another launcher would take it for one left behind
        for other in place.glob(f"{_PREFIX}*"):
            with suppress(OSError), (other / _LOCK).open("a") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(other, ignore_errors=True)
        folder = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=place))
        own = (folder / _LOCK).open("w")
        fcntl.flock(own, fcntl.LOCK_EX)
    try:
        with own:
            yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    place = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(place, fcntl.LOCK_EX)
        yield
    finally:
        os.close(place)


class Healer:
    """Starts ranks, and starts them again.

    Args:
        ranks: number of ranks.
        every_n_steps: steps between two checkpoints in memory.
        folder: folder for them.
        words: command of the training, and its options.
    """

    def __init__(self, ranks: int, every_n_steps: int, folder: Path, words: Sequence[str]) -> None:
        self._number, self._every, self._folder, self._words = ranks, every_n_steps, folder, words
        self._ranks: list[ForkProcess] = []
        self._asked: int | None = None  # the signal that asks to stop

    def run(self) -> int:
        """Return the exit status when the training is complete, was stopped, or cannot go on."""
        step, attempts = -1, 0
        with self._passing_signals_on():
            while True:
                self._start()
                statuses = self._end()
                lost = {rank: status for rank, status in enumerate(statuses) if _is_lost(status)}
                if not lost:
                    return next((status for status in statuses if status), 0)
                before, step = step, self._saved_step()
                attempts = attempts + 1 if step == before else 1
                rank, status = next(iter(lost.items()))
                said = f"rank {rank} {_ending(status)}"
                if attempts > ATTEMPTS:
                    _say(f"error: {said}, {attempts} times after step {step}: look at it; --ckpt_path last resumes")
                    return 1
                _say(f"{said}; all {self._number} ranks start again after step {max(step, 0)}")

    def _start(self) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        resumes = ["--ckpt_path", "last"] if (self._folder / NAME).is_file() else []
        environment = {
            "WORLD_SIZE": str(self._number),
            "LOCAL_WORLD_SIZE": str(self._number),
            "GROUP_WORLD_SIZE": "1",
            "GROUP_RANK": "0",
            "MASTER_ADDR": "127.0.0.1",
            "MASTER_PORT": str(port),
            "TORCHELASTIC_RUN_ID": "healing",  # as torchrun's ranks, see `launchers.py`
            FOLDER_VARIABLE: str(self._folder),
            STEPS_VARIABLE: str(self._every),
        }
        context = get_context("fork")
        for rank in range(self._number):
            own = {**environment, "RANK": str(rank), "LOCAL_RANK": str(rank)}
            self._ranks.append(context.Process(target=_be_a_rank, args=([*self._words, *resumes], own)))
        # A signal that comes now is pending in the ranks until they listen.
        signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
        for process in self._ranks:
            process.start()
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
        if self._asked is not None:
            self._pass_on(self._asked)

    def _end(self) -> list[int]:
        """Wait until a rank ends, and for the others if they will end, too; return the statuses of all.

        The status of a rank that was ended because another one is lost is 0.
        """
        wait([process.sentinel for process in self._ranks])
        deadline = time.monotonic() + LAST_WORDS
        while any(process.is_alive() for process in self._ranks) and time.monotonic() < deadline:
            if any(_is_lost(process.exitcode or 0) for process in self._ranks):
                break
            wait([process.sentinel for process in self._ranks if process.is_alive()], timeout=1)
            if all(process.exitcode in (None, 0, EXIT_STATUS) for process in self._ranks):
                deadline = time.monotonic() + LAST_WORDS  # the others upload, or evaluate
        is_ended = [process.is_alive() for process in self._ranks]
        for process in self._ranks:
            process.kill()
            process.join()
        statuses = [0 if ended else process.exitcode or 0 for process, ended in zip(self._ranks, is_ended, strict=True)]
        self._ranks = []
        return statuses

    def _saved_step(self) -> int:
        path = self._folder / NAME
        return position_of(path)[1] if path.is_file() else -1

    @contextmanager
    def _passing_signals_on(self) -> Iterator[None]:
        """Pass signals to the ranks, which save and end; a terminal sends Ctrl-C to them itself."""
        before: dict[int, Any] = {number: signal.signal(number, self._pass_on) for number in SIGNALS}
        before[signal.SIGINT] = signal.signal(signal.SIGINT, signal.SIG_IGN)
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _pass_on(self, number: int, _: object = None) -> None:
        self._asked = number
        for process in self._ranks:
            if process.pid is not None and process.is_alive():
                os.kill(process.pid, number)


def _be_a_rank(words: list[str], environment: dict[str, str]) -> None:
    """Run the command as one rank; the process ends with its status."""
    listen()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    ctypes.CDLL(None).prctl(_DEATH_SIGNAL, signal.SIGTERM)  # no rank outlives its launcher
    os.environ.update(environment)
    from lightning_rcnn.cli import main as run

    try:
        status = run(words)
    except SystemExit as stop:
        status = stop.code if isinstance(stop.code, int) else FAILED
    except BaseException:
        traceback.print_exc()
        status = FAILED
    sys.exit(status)


def _is_lost(status: int) -> bool:
    """Tell whether a rank was killed or failed; ranks that were asked to stop, or say what is wrong, are not lost."""
    return status < 0 or status not in (0, 1, 2, EXIT_STATUS, INTERRUPTED)


def _ending(status: int) -> str:
    return f"failed with status {status}" if status > 0 else f"was killed by {signal.Signals(-status).name}"


def _say(line: str) -> None:
    print(f"lightning-rcnn: {line}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
