import os

import pytest

from lightning_rcnn.data.pack.parallel import ITEMS_PER_PROCESS, default_workers, map_in_order


@pytest.mark.end_to_end
@pytest.mark.parametrize("workers", [1, 2])
def test_results_come_in_order(workers):
    numbers = list(range(-150, 150))
    assert list(map_in_order(abs, numbers, workers)) == list(map(abs, numbers))


def test_few_items_stay_in_this_process_and_many_use_every_core():
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    assert default_workers(0) == default_workers(ITEMS_PER_PROCESS) == 1
    assert default_workers(10_000_000) == cores


@pytest.mark.end_to_end
def test_an_error_in_a_process_ends_the_work():
    with pytest.raises(ValueError, match="invalid literal"):
        list(map_in_order(int, ["7", "seven"] * 50, 2))
