"""Whether an operator runs as CUDA kernel or in the way that works on any device."""

import functools
import warnings
from collections.abc import Callable
from typing import Literal, TypeVar

import torch

from lightning_rcnn.ops.cuda.compiler import CompilationError

Implementation = Literal["auto", "cuda", "portable"]
"""`auto` takes the kernels where it can, `cuda` insists on them, `portable` is the way that runs on any device."""

Result = TypeVar("Result")


def run(
    impl: str,
    device: torch.device,
    obstacle: str,
    by_kernels: Callable[[], Result],
    portably: Callable[[], Result],
) -> Result:
    """Runs one of two ways to the same result.

    Args:
        impl: an `Implementation`.
        device: of the tensors.
        obstacle: why the kernels cannot do it, as far as can be told without compiling; empty if they can.
        by_kernels: with the kernels; may find that they cannot be compiled.
        portably: on any device.

    Returns:
        What the way taken returns. The first detour on a CUDA device for each reason gives a warning.

    Raises:
        RuntimeError: `impl` is "cuda" and there is an obstacle.
    """
    if impl == "portable":
        return portably()
    if not obstacle:
        try:
            return by_kernels()
        except CompilationError as error:
            obstacle = str(error)
    if impl == "cuda":
        raise RuntimeError(f"the CUDA kernels cannot be used: {obstacle}")
    if device.type == "cuda":
        _warn(obstacle)
    return portably()


@functools.cache
def _warn(reason: str) -> None:
    warnings.warn(f"regions are pooled, masked and suppressed without CUDA kernels, and slower: {reason}", stacklevel=2)
