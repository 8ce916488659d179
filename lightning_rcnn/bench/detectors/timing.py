"""Timing contenders turn by turn, and how much memory each needs."""

import contextlib
import ctypes
import gc
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import torch

from lightning_rcnn.bench.detectors.contenders import Contender

_RESET_OF_PEAK = "5"
"""Written to a process's `clear_refs`, this makes Linux count its peak of resident memory anew."""


def race(runners: Sequence[Contender], repeats: int, device: torch.device) -> None:
    """Measure the memory of every contender in an untimed turn, then time their turns, each after one untimed.

    They take turns so that a busy machine slows all of them alike.

    Args:
        runners: whose figures are filled in.
        repeats: timed turns of each.
        device: they run on.
    """
    for runner in runners:
        runner.run()
        runner.peak_bytes = peak_memory(runner.run, device)
    for _ in range(repeats):
        for runner in runners:
            runner.seconds.append(_time(runner.run, device))


def peak_memory(run: Callable[[], object], device: torch.device) -> int:
    """Bytes that a run needs at most on top of what lies there before; 0 where the system does not tell."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        run()
        torch.cuda.synchronize(device)
        return torch.cuda.max_memory_allocated(device) - before
    _return_free_memory()
    try:
        Path("/proc/self/clear_refs").write_text(_RESET_OF_PEAK)
        before = _resident("VmRSS")
        run()
        return max(_resident("VmHWM") - before, 0)
    except OSError:
        return 0


def _time(run: Callable[[], object], device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    start = time.perf_counter()
    run()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - start


def _resident(entry: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith(f"{entry}:"))


def _return_free_memory() -> None:
    """What an earlier run left with the allocator would hide what the next one needs."""
    with contextlib.suppress(OSError, AttributeError):  # where it is not glibc's
        ctypes.CDLL(None).malloc_trim(0)
