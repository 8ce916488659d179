"""Signals that ask a training to stop: noted from the first moment on, obeyed at the end of a batch.

SLURM sends USR1 some time before the end of a job (`#SBATCH --signal=USR1@120`) and TERM when it takes a job's place
away; people and other schedulers send TERM. A handler may do no more than note them: it meets a process anywhere, for
example within a collective operation of which the other ranks know nothing, and then all wait for ever.
"""

import signal

SIGNALS = (signal.SIGUSR1, signal.SIGTERM)
EXIT_STATUS = 75
"""Of a training that stopped because it was asked to: `EX_TEMPFAIL` in sysexits.h, "try again later"."""

_received: list[str] = []


class Preempted(Exception):  # noqa: N818  # it is no error
    """A training stopped because it was asked to, and what it had done is saved.

    Args:
        message: one line for people; empty on ranks that have nothing to add.
        status: for the process to exit with.
    """

    def __init__(self, message: str, status: int = EXIT_STATUS) -> None:
        super().__init__(message)
        self.status = status


def listen() -> None:
    """Note signals from now on, also those that came earlier and were blocked; to be called in the main thread.

    What a process blocks stays blocked, and pending, in the program that it becomes: a job script that starts Python
    by `env --block-signal=USR1,TERM` loses no signal before this line.
    """
    for number in SIGNALS:
        signal.signal(number, _note)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)


def ignore() -> None:
    """Take no signal from now on, to the very end of the process; to be called when all that matters is saved.

    A SLURM step ends its tasks with TERM when the first one has exited with another status than 0. Python forgets its
    handlers before it is at its end, and a task that TERM ends there gives the job another status than it should have.
    """
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)


def received() -> str:
    """The name of the first signal that came, for example "SIGUSR1"; empty if none did."""
    return _received[0] if _received else ""


def forget() -> None:
    """Begin anew, as if no signal had come."""
    _received.clear()


def _note(number: int, frame: object) -> None:
    _received.append(signal.Signals(number).name)
