"""Our training step as written, compiled and captured; on a GPU a host sync is an error."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import torch
from rich.console import Console
from torch import Tensor

from lightning_rcnn.bench.detectors.contenders import (
    Architecture,
    CompilationPlan,
    training_precision,
    training_step,
)
from lightning_rcnn.bench.detectors.scene import Scene
from lightning_rcnn.bench.timing import take_turns, timed
from lightning_rcnn.compilation import Scope, compile_training

_FIRST_STEPS, _CHECKED_STEPS = 5, 10


class StepFigures(NamedTuple):
    """Figures of a training step.

    Attributes:
        first_seconds: seconds of the first five steps, compilation included.
        seconds: wall time of each step after them.
        peak_bytes: highest allocated memory of the GPU, weights included; 0 on the CPU.
    """

    first_seconds: float
    seconds: list[float]
    peak_bytes: int


def plans(device: torch.device) -> list[CompilationPlan | None]:
    """List the ways to run a step; None is as written, and only a GPU captures."""
    scopes: tuple[Scope, ...] = ("parts", "step")
    captures = (False, True) if device.type == "cuda" else (False,)
    return [None, *(CompilationPlan(scope, capture) for scope in scopes for capture in captures)]


def time_step(
    architecture: Architecture,
    scene: Scene,
    plan: CompilationPlan | None,
    device: torch.device,
    repeats: int,
    console: Console,
) -> StepFigures:
    """Run steps of our detector in the precision of a training; on a GPU, first check ten of them for host syncs.

    Args:
        architecture: architecture of the detector.
        scene: batch of every step.
        plan: how the step is compiled; None leaves it as written.
        device: device of the step.
        repeats: number of timed steps.
        console: where progress is shown.

    Raises:
        RuntimeError: a step waits for the GPU, or cannot be compiled or captured.
    """
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()
    detector = architecture.ours().to(device).to(memory_format=torch.channels_last).train()
    scene = scene.to(device)
    inputs, targets = scene.inputs(), scene.targets(architecture.has_masks)

    def losses() -> dict[str, Tensor]:
        detector.sampling_seed.add_(1)
        return detector.losses(inputs, targets)

    with warnings.catch_warnings():
        # After one of these warnings the step runs in another way than its name says.
        warnings.filterwarnings("error", message=".*(nothing is captured|runs uncompiled)")
        if plan is not None:
            compile_training(detector, plan.scope, plan.capture)
        step = training_step(detector, losses, training_precision(device), device)
        first = timed(lambda: [step() for _ in range(_FIRST_STEPS)], device)
        if device.type == "cuda":
            with _refuse_host_syncs():
                for _ in range(_CHECKED_STEPS):
                    step()
            torch.cuda.reset_peak_memory_stats(device)
        (seconds,) = take_turns([step], lambda run: timed(run, device).seconds, repeats, console, warm_up=0)
    if skipped := torch._dynamo.utils.counters["inductor"]["cudagraph_skips"]:
        raise RuntimeError(f"{skipped} graphs were not captured")
    peak = torch.cuda.max_memory_allocated(device) if device.type == "cuda" else 0
    return StepFigures(first.seconds, seconds, peak)


@contextmanager
def _refuse_host_syncs() -> Iterator[None]:
    torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode("default")
