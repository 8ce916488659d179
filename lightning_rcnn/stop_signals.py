"""Signals that ask a training to stop: recorded at any moment, obeyed at the end of a batch.

SLURM sends USR1 some time before the end of a job (`#SBATCH --signal=USR1@120`) and TERM when it preempts a job; people
and other schedulers send TERM. A handler may only record them: it interrupts the process anywhere, for example in a
collective operation, and communication of its own would deadlock the ranks.

W&B asks for a stop, too: a person on its page, or the early termination of a sweep, whose agent then sends TERM. Such a
stop is for good: nothing is requeued.
"""

import os
import signal
import sys
from _thread import interrupt_main
from collections.abc import Callable

SIGNALS = (signal.SIGUSR1, signal.SIGTERM)
SWEEP = "WANDB_SWEEP_ID"
"""Variable by which W&B's agent tells its runs that they belong to a sweep."""
EXIT_STATUS = 75
"""Exit status of a training that a signal stopped: `EX_TEMPFAIL` in sysexits.h, "try again later"."""
INTERRUPTED = 130
"""Exit status after Ctrl-C: 128 and the number of the signal, as shells have it."""

WANDB_STOP = "W&B"
"""What `received` returns if W&B asked for the stop."""

_DEATH_SIGNAL = 1  # PR_SET_PDEATHSIG of prctl(2)
_received: list[str] = []


class StoppedBeforeTraining(BaseException):  # as Ctrl-C: no `except Exception` may take it for an error
    """A signal has come, and nothing is trained yet that could be saved."""


class Preempted(Exception):  # noqa: N818  # it is no error
    """A training was stopped by a signal, and its progress is saved.

    Args:
        message: one line for the user; empty on ranks with nothing to add.
        status: exit status of the process.
    """

    def __init__(self, message: str, status: int = EXIT_STATUS) -> None:
        super().__init__(message)
        self.status = status


def listen() -> None:
    """Record signals from now on, and those that are blocked and pending; call this in the main thread.

    A program inherits blocked and pending signals: a job script that starts Python with
    `env --block-signal=USR1,TERM` loses no signal before this call.
    """
    _handle_by(_note)


def stop_at_once() -> None:
    """Let a signal raise an exception from now on, until `listen` is called, or until one has.

    For a process that nobody waits for: ranks that have met have to agree on a stop.

    Raises:
        StoppedBeforeTraining: there was a signal already.
    """
    _handle_by(_note_and_raise)
    if received():
        raise StoppedBeforeTraining


def send_at_end_of_parent(number: int) -> None:
    """Have the system send this process a signal when its parent ends, also by `kill -9`; Linux only."""
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(_DEATH_SIGNAL, int(number))


def ignore() -> None:
    """Ignore signals until the process has ended; call this when all is saved.

    A SLURM step sends TERM to its tasks when one of them has exited with another status than 0. Python removes its
    handlers before it exits, and a task that TERM kills there would change the status of the job.
    """
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)


def stop_from_wandb() -> None:
    """Record that W&B asks for a stop; a process that does not listen is interrupted as by Ctrl-C, W&B's own way.

    W&B calls this in a thread of its own.
    """
    if signal.getsignal(signal.SIGTERM) is _note:
        _received.append(WANDB_STOP)
    else:
        interrupt_main()


def received() -> str:
    """Return the name of the first signal received, such as "SIGUSR1", or `WANDB_STOP`; empty if there was none."""
    return _received[0] if _received else ""


def stopped_for_good() -> int | None:
    """Return the exit status if W&B asked for the stop, itself or by the TERM of its agent; None for all other stops.

    It is 0 under an agent, which gives up a sweep whose first runs have other statuses, else that of Ctrl-C.
    """
    in_sweep = SWEEP in os.environ
    if received() == WANDB_STOP or (in_sweep and received() == "SIGTERM"):
        return 0 if in_sweep else INTERRUPTED
    return None


def forget() -> None:
    """Forget all received signals."""
    _received.clear()


def _handle_by(handler: Callable[[int, object], None]) -> None:
    for number in SIGNALS:
        signal.signal(number, handler)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)


def _note(number: int, frame: object) -> None:
    _received.append(signal.Signals(number).name)


def _note_and_raise(number: int, frame: object) -> None:
    _note(number, frame)
    listen()  # what cleans up now is not interrupted
    raise StoppedBeforeTraining
