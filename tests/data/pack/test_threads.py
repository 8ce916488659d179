import signal
import threading
import time
from contextlib import closing

import pytest

from lightning_rcnn.data.pack.threads import ITEMS_PER_TASK, TASKS_AHEAD, map_in_threads


def test_results_come_in_order():
    numbers = list(range(-50, 51))
    assert list(map_in_threads(lambda number: (time.sleep(0.001 * (number % 3)), number)[1], numbers, 3)) == numbers


def test_items_are_at_work_at_the_same_time():
    meeting = threading.Barrier(2, timeout=30)  # nobody passes alone
    assert len(list(map_in_threads(lambda _: meeting.wait(), range(2 * ITEMS_PER_TASK), 2))) == 2 * ITEMS_PER_TASK


def test_the_error_is_that_of_the_first_bad_item_though_a_later_one_fails_first():
    second_failed = threading.Event()

    def fail(number):
        if number == 0:
            assert second_failed.wait(30)
            raise ValueError("first")
        second_failed.set()
        raise ValueError("second")

    with pytest.raises(ValueError, match="first"):
        list(map_in_threads(fail, [0] + [1] * ITEMS_PER_TASK, 2))


def test_few_items_are_read_ahead():
    read = []
    results = map_in_threads(read.append, range(1000), 2)
    next(results)
    time.sleep(0.05)
    assert len(read) <= 2 * TASKS_AHEAD * ITEMS_PER_TASK
    results.close()
    assert len(read) <= 2 * TASKS_AHEAD * ITEMS_PER_TASK


def test_an_interrupt_ends_the_work():
    done, before = [], threading.active_count()

    def interrupt(number):
        if number == 8:
            signal.raise_signal(signal.SIGINT)
        done.append(number)

    with pytest.raises(KeyboardInterrupt), closing(map_in_threads(interrupt, range(100_000), 2)) as results:
        for _ in results:
            pass
    assert len(done) < 100_000
    deadline = time.monotonic() + 10  # a thread that was just being started is not waited for
    while threading.active_count() > before and time.monotonic() < deadline:
        time.sleep(0.01)
    assert threading.active_count() <= before
