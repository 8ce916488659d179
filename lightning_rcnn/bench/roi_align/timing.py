"""Times forward and backward of pooling, on the CPU and on a GPU with cold caches."""

import statistics
from collections.abc import Callable, Sequence

import torch
from rich.console import Console

from lightning_rcnn.bench.roi_align.contenders import Contender, Times
from lightning_rcnn.bench.timing import take_turns, timed

WARM_UP = 2
_CPU = torch.device("cpu")
_FLUSH_BYTES = 2**30
"""Written before each timed step on a GPU: many times its L2 cache, and long enough for the host to run ahead."""


def time_contenders(contenders: Sequence[Contender], device: torch.device, repeats: int, console: Console) -> None:
    """Fill in the times of every contender, turn by turn."""
    measure = _measure_on_cuda() if device.type == "cuda" else _measure_on_cpu
    for contender, times in zip(contenders, take_turns(contenders, measure, repeats, console, WARM_UP), strict=True):
        contender.times = times


def copy_bandwidth() -> float:
    """Measure how many bytes a second the GPU reads and writes when it copies."""
    source = torch.empty(_FLUSH_BYTES, dtype=torch.uint8, device="cuda")
    target = torch.empty_like(source)
    start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
    times = []
    for _ in range(WARM_UP + 9):
        start.record()
        target.copy_(source)
        end.record()
        end.synchronize()
        times.append(start.elapsed_time(end))
    return 2 * _FLUSH_BYTES / (1e-3 * statistics.median(times[WARM_UP:]))


def _measure_on_cpu(contender: Contender) -> Times:
    _clear_gradients(contender)
    forward = timed(contender.pool, _CPU)
    grad = torch.randn_like(forward.result)
    backward = timed(lambda: forward.result.backward(grad), _CPU)
    return Times(1e3 * forward.seconds, 1e3 * backward.seconds, 1e3 * (forward.seconds + backward.seconds))


def _measure_on_cuda() -> Callable[[Contender], Times]:
    """Return a function that times the directions by the GPU's clock, and both together by the host's."""
    flush = torch.empty(_FLUSH_BYTES, dtype=torch.uint8, device="cuda")
    events = [torch.cuda.Event(enable_timing=True) for _ in range(4)]

    def measure(contender: Contender) -> Times:
        grad = torch.randn_like(contender.pool())
        _clear_gradients(contender)
        flush.zero_()
        events[0].record()
        pooled = contender.pool()
        events[1].record()
        flush.zero_()
        events[2].record()
        pooled.backward(grad)
        events[3].record()

        _clear_gradients(contender)
        flush.zero_()
        full_step = timed(lambda: contender.pool().backward(grad), flush.device)
        return Times(events[0].elapsed_time(events[1]), events[2].elapsed_time(events[3]), 1e3 * full_step.seconds)

    return measure


def _clear_gradients(contender: Contender) -> None:
    for leaf in contender.features:
        leaf.grad = None
