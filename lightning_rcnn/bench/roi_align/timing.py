"""Races: contenders take turns, so that whatever else the machine does slows all of them alike."""

import statistics
import time
from collections.abc import Sequence

import torch
from rich.console import Console

from lightning_rcnn.bench.roi_align.contenders import Contender
from lightning_rcnn.progress import track

_WARM_UP = 2
_FLUSH_BYTES = 2**30
"""Written before each timed step on a GPU: many times its L2 cache, and long enough for the host to run ahead."""


def race_on_cpu(contenders: Sequence[Contender], repeats: int, console: Console) -> None:
    """Times forward and backward of every contender."""
    for repeat in track(range(_WARM_UP + repeats), "timing, turns", console):
        for contender in contenders:
            _forget_gradients(contender)
            start = time.perf_counter()
            pooled = contender.pool()
            middle = time.perf_counter()
            grad = torch.randn_like(pooled)
            resumed = time.perf_counter()
            pooled.backward(grad)
            end = time.perf_counter()
            if repeat >= _WARM_UP:
                contender.forward_ms.append(1e3 * (middle - start))
                contender.backward_ms.append(1e3 * (end - resumed))
                contender.wall_ms.append(contender.forward_ms[-1] + contender.backward_ms[-1])


def race_on_cuda(contenders: Sequence[Contender], repeats: int, console: Console) -> None:
    """Times forward and backward of every contender by the GPU's clock and together by the host's, caches cold."""
    flush = torch.empty(_FLUSH_BYTES, dtype=torch.uint8, device="cuda")
    grads = [torch.randn_like(contender.pool()) for contender in contenders]
    events = [torch.cuda.Event(enable_timing=True) for _ in range(4)]
    for repeat in track(range(_WARM_UP + repeats), "timing, turns", console):
        for contender, grad in zip(contenders, grads, strict=True):
            _forget_gradients(contender)
            flush.zero_()
            events[0].record()
            pooled = contender.pool()
            events[1].record()
            flush.zero_()
            events[2].record()
            pooled.backward(grad)
            events[3].record()

            _forget_gradients(contender)
            flush.zero_()
            torch.cuda.synchronize()
            start = time.perf_counter()
            contender.pool().backward(grad)
            torch.cuda.synchronize()
            end = time.perf_counter()
            if repeat >= _WARM_UP:
                contender.forward_ms.append(events[0].elapsed_time(events[1]))
                contender.backward_ms.append(events[2].elapsed_time(events[3]))
                contender.wall_ms.append(1e3 * (end - start))


def copy_bandwidth() -> float:
    """Bytes a second that the GPU moves when it copies, reading and writing counted."""
    source = torch.empty(_FLUSH_BYTES, dtype=torch.uint8, device="cuda")
    target = torch.empty_like(source)
    start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
    times = []
    for _ in range(_WARM_UP + 9):
        start.record()
        target.copy_(source)
        end.record()
        end.synchronize()
        times.append(start.elapsed_time(end))
    return 2 * _FLUSH_BYTES / (1e-3 * statistics.median(times[_WARM_UP:]))


def quartiles(values: Sequence[float]) -> tuple[float, float, float]:
    """Lower quartile, median, upper quartile."""
    lower, median, upper = statistics.quantiles(values, n=4, method="inclusive")
    return lower, median, upper


def _forget_gradients(contender: Contender) -> None:
    for leaf in contender.features:
        leaf.grad = None
