"""Loader workers: how many, and how they take the signals of a job."""

import contextlib
import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator
from multiprocessing import resource_tracker

_MOST_WORKERS = 8
_SIGNALS_OF_A_JOB = {signal.SIGINT, signal.SIGUSR1, signal.SIGUSR2}
if hasattr(signal, "sigwaitinfo"):  # not on macOS, where workers end on any SIGTERM
    _SIGNALS_OF_A_JOB.add(signal.SIGTERM)


def suggested_workers(local_ranks: int) -> int:
    """Workers for each of `local_ranks` processes on this node: its share of the cores less one, at most eight."""
    cores = available_cores()
    share = cores // local_ranks
    if given := os.environ.get("SLURM_CPUS_PER_TASK"):
        # SLURM may have bound this process to its own cores, or not.
        share = min(cores, int(given))
    return max(0, min(_MOST_WORKERS, share - 1))


def available_cores() -> int:
    """Cores that this process may use, which a job or a container may limit."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextlib.contextmanager
def signals_blocked() -> Iterator[None]:
    """Start workers within this context, that they may outlive what a scheduler or a terminal sends to all processes.

    The main process decides what a signal means: it finishes its step and saves, for which it needs its workers. What
    is blocked here stays blocked in processes started here, in all of their threads and from their first instruction
    on; signals to the caller itself are delivered when the context ends.
    """
    resource_tracker.ensure_running()  # Python starts it with the first worker, and then unblocks what is blocked
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS_OF_A_JOB)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def initialise_worker(worker: int) -> None:
    """Obey SIGTERM, which is blocked, when it comes from the main process: so it ends its workers."""
    main = multiprocessing.parent_process()  # not getppid: a fork server may stand in between
    if main is not None and signal.SIGTERM in _SIGNALS_OF_A_JOB:
        threading.Thread(target=_end_on_word_of, args=(main.pid,), daemon=True).start()


def _end_on_word_of(main: int | None) -> None:
    while signal.sigwaitinfo([signal.SIGTERM]).si_pid != main:
        pass
    os._exit(0)
