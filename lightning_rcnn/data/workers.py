"""Loader workers: how many, and how they take the signals of a job."""

import os
import signal
import threading

_MOST_WORKERS = 8


def suggested_workers(local_ranks: int) -> int:
    """Workers for each of `local_ranks` processes on this node: its share of the cores less one, at most eight.

    Eight workers decode some 4000 images of 640 x 480 a second, more than a detector trains on.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(0, min(_MOST_WORKERS, cores // local_ranks - 1))


def initialise_worker(worker: int) -> None:
    """Make a worker outlive the signals that a scheduler or a terminal sends to all processes of a job.

    The main process decides what a signal means: it finishes its step and saves, for which it needs its workers. They
    ignore SIGINT, SIGUSR1 and SIGUSR2, and obey SIGTERM only when it comes from their parent, which ends them so.
    """
    for number in (signal.SIGINT, signal.SIGUSR1, signal.SIGUSR2):
        signal.signal(number, signal.SIG_IGN)
    if hasattr(signal, "sigwaitinfo"):  # not on macOS
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
        threading.Thread(target=_end_on_word_of, args=(os.getppid(),), daemon=True).start()


def _end_on_word_of(parent: int) -> None:
    while signal.sigwaitinfo([signal.SIGTERM]).si_pid != parent:
        pass
    os._exit(0)
