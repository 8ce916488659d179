import io
import time

import pytest
import torch
from rich.console import Console

from lightning_rcnn.bench.timing import quartiles, take_turns, timed


def test_contenders_take_turns():
    order = []

    def measure(contender):
        order.append(contender)
        return len(order)

    console = Console(file=io.StringIO())
    assert take_turns(["theirs", "ours"], measure, 2, console) == [[3, 5], [4, 6]]  # the first turn is warm-up
    assert order == ["theirs", "ours"] * 3
    assert "6 of 6" in console.file.getvalue()


def test_quartiles_by_hand():
    assert quartiles([5.0, 1.0, 2.0, 4.0, 3.0]) == (2, 3, 4)
    assert quartiles([7.0]) == (7, 7, 7)


def test_sleep_takes_no_cpu_time():
    result = timed(lambda: time.sleep(0.05), torch.device("cpu"))
    assert result.result is None
    assert result.core_seconds < 0.05 <= result.seconds


@pytest.mark.parametrize("repeats", [1, 3])
def test_each_contender_has_one_measurement_a_turn(repeats):
    runs = take_turns([1, 2], lambda _: 0.0, repeats, Console(quiet=True), warm_up=2)
    assert [len(own) for own in runs] == [repeats, repeats]
