"""How every benchmark measures: contenders take turns, and medians and quartiles are reported."""

import statistics
import time
from collections.abc import Callable, Sequence
from typing import Generic, NamedTuple, TypeVar

import torch
from rich.console import Console

from lightning_rcnn.progress import track

Contender = TypeVar("Contender")
Measurement = TypeVar("Measurement")
Result = TypeVar("Result")


class Timed(NamedTuple, Generic[Result]):
    """One timed call.

    Attributes:
        result: return value of the call.
        seconds: wall time.
        core_seconds: CPU time, by default of this process, all threads together; other programs do not count.
    """

    result: Result
    seconds: float
    core_seconds: float


class Quartiles(NamedTuple):
    """Lower quartile, median and upper quartile."""

    lower: float
    median: float
    upper: float


def take_turns(
    contenders: Sequence[Contender],
    measure: Callable[[Contender], Measurement],
    repeats: int,
    console: Console,
    warm_up: int = 1,
) -> list[list[Measurement]]:
    """Measure the contenders turn by turn, so that a busy machine slows all of them alike.

    Args:
        contenders: what is measured, in this order in every turn.
        measure: runs a contender once.
        repeats: number of turns that count.
        console: where progress is shown.
        warm_up: number of turns before, which do not count.

    Returns:
        For each contender `repeats` measurements.
    """
    measurements: list[list[Measurement]] = [[] for _ in contenders]
    runs = [(turn, number) for turn in range(warm_up + repeats) for number in range(len(contenders))]
    for turn, number in track(runs, "timing, runs", console):
        measurement = measure(contenders[number])
        if turn >= warm_up:
            measurements[number].append(measurement)
    return measurements


def timed(
    run: Callable[[], Result], device: torch.device, core_clock: Callable[[], float] = time.process_time
) -> Timed[Result]:
    """Call `run` and time it until the device has finished its work.

    Args:
        run: what is timed.
        device: device that it works on.
        core_clock: returns CPU time in seconds.
    """
    _synchronize(device)
    start, core_start = time.perf_counter(), core_clock()
    result = run()
    _synchronize(device)
    return Timed(result, time.perf_counter() - start, core_clock() - core_start)


def quartiles(values: Sequence[float]) -> Quartiles:
    """Quartiles of one or more values; of a single one, that value three times."""
    if len(values) == 1:
        return Quartiles(values[0], values[0], values[0])
    return Quartiles(*statistics.quantiles(values, n=4, method="inclusive"))


def _synchronize(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
