"""Loader workers: their number, and their handling of a job's signals."""

import contextlib
import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator
from multiprocessing import connection, resource_tracker

import cv2

_MAX_WORKERS = 8
_SIGNALS_OF_A_JOB = {signal.SIGINT, signal.SIGUSR1, signal.SIGUSR2}
if hasattr(signal, "sigwaitinfo"):  # not on macOS, where workers end on any SIGTERM
    _SIGNALS_OF_A_JOB.add(signal.SIGTERM)


def suggested_workers(local_ranks: int) -> int:
    """Return the workers of each of `local_ranks` processes on this node: its share of the cores less one, up to 8."""
    cores = available_cores()
    share = cores // local_ranks
    if given := os.environ.get("SLURM_CPUS_PER_TASK"):
        # SLURM may or may not have bound this process to its own cores.
        share = min(cores, int(given))
    return max(0, min(_MAX_WORKERS, share - 1))


def available_cores() -> int:
    """Return the number of cores that this process may use, which a job or a container may limit."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextlib.contextmanager
def signals_blocked() -> Iterator[None]:
    """Block the signals that a scheduler or a terminal sends to all processes, while workers are started.

    The main process handles a signal: it finishes its step and saves, and needs its workers for that. Processes started
    in this context inherit the blocked signals in all threads, from the first instruction. Signals to the caller are
    delivered when the context ends.
    """
    resource_tracker.ensure_running()  # Python would start it with the first worker and unblock the signals then
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS_OF_A_JOB)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def initialize_worker(worker: int) -> None:
    """Exit with the main process, and on a SIGTERM from it; others' SIGTERM stays blocked. Give OpenCV one thread."""
    main = multiprocessing.parent_process()  # not getppid: a fork server may be in between
    if main is None:
        return
    cv2.setNumThreads(0)  # a worker has one core, which torch does for itself
    threading.Thread(target=_exit_with, args=(main.sentinel,), daemon=True).start()
    if signal.SIGTERM in _SIGNALS_OF_A_JOB:
        threading.Thread(target=_exit_on_sigterm_from, args=(main.pid,), daemon=True).start()


def _exit_with(sentinel: int) -> None:
    # torch compares getppid, which a fork server keeps although the main process was killed.
    connection.wait([sentinel])
    os._exit(1)


def _exit_on_sigterm_from(main: int | None) -> None:
    while signal.sigwaitinfo([signal.SIGTERM]).si_pid != main:
        pass
    os._exit(0)
