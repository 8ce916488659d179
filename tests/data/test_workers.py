import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time

import cv2
import pytest

from lightning_rcnn.data import workers
from lightning_rcnn.data.workers import initialize_worker, signals_blocked, suggested_workers


@pytest.mark.parametrize(("cores", "ranks", "expected"), [(1, 1, 0), (2, 1, 1), (64, 8, 7), (128, 1, 8), (4, 8, 0)])
def test_workers_share_the_cores(monkeypatch: pytest.MonkeyPatch, cores: int, ranks: int, expected: int):
    monkeypatch.setattr(workers.os, "sched_getaffinity", lambda pid: set(range(cores)))
    monkeypatch.delenv("SLURM_CPUS_PER_TASK", raising=False)
    assert suggested_workers(ranks) == expected


@pytest.mark.parametrize(("cores", "given", "expected"), [(12, "12", 8), (4, "4", 3), (96, "6", 5), (1, "1", 0)])
def test_a_task_of_slurm_has_cores_of_its_own(monkeypatch: pytest.MonkeyPatch, cores: int, given: str, expected: int):
    monkeypatch.setattr(workers.os, "sched_getaffinity", lambda pid: set(range(cores)))
    monkeypatch.setenv("SLURM_CPUS_PER_TASK", given)
    assert suggested_workers(local_ranks=8) == expected


def work(ready) -> None:
    initialize_worker(0)
    ready.set()
    while True:
        time.sleep(0.01)


def send_threads(sender) -> None:
    initialize_worker(0)
    sender.send(cv2.getNumThreads())


def test_opencv_has_one_thread_in_a_worker_and_keeps_them_elsewhere():
    before = cv2.getNumThreads()
    cv2.setNumThreads(2)
    receiver, sender = multiprocessing.Pipe(duplex=False)
    process = multiprocessing.get_context("fork").Process(target=send_threads, args=(sender,))
    process.start()
    assert receiver.recv() == 1
    process.join()
    assert cv2.getNumThreads() == 2
    cv2.setNumThreads(before)


@pytest.fixture
def worker():
    context = multiprocessing.get_context("fork")
    ready = context.Event()
    process = context.Process(target=work, args=(ready,), daemon=True)
    with signals_blocked():
        process.start()
    assert ready.wait(60)
    yield process
    process.kill()
    process.join()


def test_signals_to_the_whole_job_do_not_end_a_worker(worker):
    for number in (signal.SIGINT, signal.SIGUSR1, signal.SIGUSR2, signal.SIGTERM):
        subprocess.run(["kill", f"-{number}", str(worker.pid)], check=True)  # another process than the parent sends it
    worker.join(0.3)
    assert worker.is_alive()


def test_signals_to_the_caller_come_when_the_context_ends():
    received = []
    before = signal.signal(signal.SIGUSR1, lambda number, frame: received.append(number))
    with signals_blocked():
        signal.pthread_kill(threading.get_ident(), signal.SIGUSR1)  # not to another thread of the process
        assert not received
    assert received == [signal.SIGUSR1]
    signal.signal(signal.SIGUSR1, before)


def test_the_parent_ends_a_worker(worker):
    worker.terminate()
    worker.join(5)
    assert worker.exitcode == 0


def test_a_worker_ends_on_the_parents_word_after_it_has_refused_others(worker):
    subprocess.run(["kill", "-TERM", str(worker.pid)], check=True)
    worker.join(0.2)
    os.kill(worker.pid, signal.SIGTERM)
    worker.join(5)
    assert not worker.is_alive()


START_WORKERS = """
import multiprocessing, sys, time
from tests.data.test_workers import work
if __name__ == "__main__":
    context = multiprocessing.get_context(sys.argv[1])
    for _ in range(2):
        ready = context.Event()
        context.Process(target=work, args=(ready,), daemon=True).start()
        ready.wait()
    print("started", flush=True)
    time.sleep(600)
"""


@pytest.mark.parametrize("method", ["fork", "forkserver"])
def test_workers_end_with_a_killed_main_process(tmp_path, method: str):
    script = tmp_path / "main.py"
    script.write_text(START_WORKERS)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, str(script), method]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as main:
        assert main.stdout is not None
        assert main.stdout.readline() == "started\n"
        main.kill()
        rest, _ = main.communicate(timeout=30)  # all processes have the pipe: it ends when the last one is gone
    assert rest == ""
