"""Signals that ask a training to stop: recorded at any moment, obeyed at the end of a batch.

SLURM sends USR1 some time before the end of a job (`#SBATCH --signal=USR1@120`) and TERM when it preempts a job; people
and other schedulers send TERM. A handler may only record them: it interrupts the process anywhere, for example in a
collective operation, and communication of its own would deadlock the ranks.
"""

import signal

SIGNALS = (signal.SIGUSR1, signal.SIGTERM)
EXIT_STATUS = 75
"""Exit status of a training that a signal stopped: `EX_TEMPFAIL` in sysexits.h, "try again later"."""

_received: list[str] = []


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
    for number in SIGNALS:
        signal.signal(number, _note)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)


def ignore() -> None:
    """Ignore signals until the process has ended; call this when all is saved.

    A SLURM step sends TERM to its tasks when one of them has exited with another status than 0. Python removes its
    handlers before it exits, and a task that TERM kills there would change the status of the job.
    """
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)


def received() -> str:
    """Return the name of the first signal received, such as "SIGUSR1"; empty if there was none."""
    return _received[0] if _received else ""


def forget() -> None:
    """Forget all received signals."""
    _received.clear()


def _note(number: int, frame: object) -> None:
    _received.append(signal.Signals(number).name)
