"""Profiles the time and the memory of a training step by part.

Forward, the parts are spans around the modules and functions that a detector lists as `profiled`. Backward has no
spans: autograd numbers its nodes, and each belongs to the part whose operator of the same number created it.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from torch import nn
from torch.autograd import DeviceType
from torch.profiler import ProfilerActivity, profile, record_function

from lightning_rcnn.detectors.base import Detector
from lightning_rcnn.progress import track

SPAN = "part: "
"""Prefix of the names of our spans."""
OPERATORS = {
    "lightning_rcnn::non_maximum_suppression": "suppression",
    "lightning_rcnn::roi_align_backward": "RoI pooling",
    "lightning_rcnn::roi_pool_backward": "RoI pooling",
}
"""Operators that count as parts of their own, also inside a span."""
OPTIMIZER, REST = "optimizer", "losses and the rest"
_BACKWARD = "autograd::engine::evaluate_function: "


@dataclass
class PartUsage:
    """Time and memory of a part in one step.

    Attributes:
        name: name of the part.
        forward, backward: seconds of the GPU, or of the host's thread on the CPU.
        kept_bytes: memory that it keeps allocated after forward, for backward.
    """

    name: str
    forward: float = 0.0
    backward: float = 0.0
    kept_bytes: int = 0

    @property
    def seconds(self) -> float:
        """Forward and backward together."""
        return self.forward + self.backward


def profile_parts(
    detector: Detector,
    step: Callable[[], object],
    device: torch.device,
    repeats: int,
    trace: Path,
    console: Console,
) -> list[PartUsage]:
    """Run some steps under torch's profiler.

    Args:
        detector: detector whose parts are profiled.
        step: a training step of it; it runs twice before.
        device: device of the step.
        repeats: number of profiled steps; the figures are their means.
        trace: file for a trace in Chrome's format.
        console: where progress is shown.

    Returns:
        The parts, the slowest first.
    """
    activities = [ProfilerActivity.CPU] + [ProfilerActivity.CUDA] * (device.type == "cuda")
    with spans_around_parts(detector):
        for _ in range(2):
            step()
        with profile(activities=activities, profile_memory=True, acc_events=True) as profiler:
            for _ in track(range(repeats), "profiling, steps", console):
                step()
                if device.type == "cuda":
                    torch.cuda.synchronize(device)
    profiler.export_chrome_trace(str(trace))
    parts = add_up(profiler.events() or [], on_device=device.type == "cuda")
    for part in parts:
        part.forward, part.backward = part.forward / repeats, part.backward / repeats
        part.kept_bytes //= repeats
    return sorted(parts, key=lambda part: part.seconds, reverse=True)


@contextmanager
def spans_around_parts(detector: nn.Module) -> Iterator[None]:
    """Show the detector's parts in profiles under the names that they give themselves."""
    wrapped: list[tuple[Any, str, Any]] = []
    for owner in list(detector.modules()):
        for attribute, part in getattr(owner, "profiled", {}).items():
            value = getattr(owner, attribute)
            # A module stays in its place; its forward is wrapped.
            target, name = (value, "forward") if isinstance(value, nn.Module) else (owner, attribute)
            wrapped.append((target, name, target.__dict__.get(name)))
            setattr(target, name, _in_span(part, getattr(target, name)))
    try:
        yield
    finally:
        for target, name, before in wrapped:
            delattr(target, name)
            if before is not None:
                setattr(target, name, before)


def add_up(events: Iterable[Any], on_device: bool) -> list[PartUsage]:
    """Sum up the profiler's events by part; each event counts without the events that it calls.

    Only events of the host count. A kernel is listed twice: in the operator that launched it, and as an event of the
    device.
    """
    events = sorted((e for e in events if e.device_type == DeviceType.CPU), key=lambda event: event.time_range.start)
    part_of_node: dict[int, str] = {}
    for event in events:
        # Several operators may share a number; the last of them created the node.
        if event.sequence_nr >= 0 and not _backward_of(event):
            part_of_node[event.sequence_nr] = _forward_part(event)
    parts: dict[str, PartUsage] = {}
    for event in events:
        node = _backward_of(event)
        name = _forward_part(event) if node is None else _backward_part(event, node, part_of_node)
        part = parts.setdefault(name, PartUsage(name))
        seconds = 1e-6 * (event.self_device_time_total if on_device else event.self_cpu_time_total)
        if node is None:
            part.forward += seconds
            part.kept_bytes += event.self_device_memory_usage if on_device else event.self_cpu_memory_usage
        else:
            part.backward += seconds
    return list(parts.values())


def _in_span(part: str, function: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(function)
    def run(*arguments: Any, **options: Any) -> Any:
        with record_function(SPAN + part):
            return function(*arguments, **options)

    return run


def _ancestors(event: Any) -> Iterator[Any]:
    while event is not None:
        yield event
        event = event.cpu_parent


def _backward_of(event: Any) -> Any:
    """Return the autograd node that an event ran in, or None."""
    return next((ancestor for ancestor in _ancestors(event) if ancestor.name.startswith(_BACKWARD)), None)


def _forward_part(event: Any) -> str:
    for ancestor in _ancestors(event):
        if ancestor.name in OPERATORS:
            return OPERATORS[ancestor.name]
        if ancestor.name.startswith(SPAN):
            return ancestor.name.removeprefix(SPAN)
    return REST


def _backward_part(event: Any, node: Any, part_of_node: dict[int, str]) -> str:
    if "AccumulateGrad" in node.name:
        return OPTIMIZER
    return next(
        (OPERATORS[ancestor.name] for ancestor in _ancestors(event) if ancestor.name in OPERATORS),
        part_of_node.get(node.sequence_nr, REST),
    )
