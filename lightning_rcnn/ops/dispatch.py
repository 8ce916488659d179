"""Choice between CUDA kernels and the implementation for any device."""

import functools
import warnings
from collections.abc import Callable
from typing import Literal, TypeVar

import torch

from lightning_rcnn.ops.cuda.compiler import CompilationError

Implementation = Literal["auto", "cuda", "portable"]
"""`auto` runs the CUDA kernels if possible, `cuda` requires them, `portable` runs on any device."""

Result = TypeVar("Result")


def run(
    operator: str,
    impl: str,
    device: torch.device,
    obstacle: str,
    by_kernels: Callable[[], Result],
    portably: Callable[[], Result],
) -> Result:
    """Run one of two implementations of an operator.

    On a CUDA device the first fallback of each operator for each reason gives a warning.

    Args:
        operator: name of the operator, for messages.
        impl: an `Implementation`.
        device: device of the tensors.
        obstacle: reason why the kernels cannot run, as far as known without compiling; empty if they can.
        by_kernels: implementation by kernels; it may raise `CompilationError`.
        portably: implementation for any device.

    Returns:
        The result of the implementation that ran.

    Raises:
        RuntimeError: `impl` is "cuda" and the kernels cannot run.
    """
    if impl == "portable":
        return portably()
    if not obstacle:
        try:
            return by_kernels()
        except CompilationError as error:
            obstacle = str(error)
    if impl == "cuda":
        raise RuntimeError(f"{operator}: CUDA kernels cannot run: {obstacle}; use impl='auto' or 'portable'")
    if device.type == "cuda":
        _warn(operator, obstacle)
    return portably()


@functools.cache
def _warn(operator: str, reason: str) -> None:
    warnings.warn(
        f"{operator}: CUDA kernels cannot run: {reason}; it runs more slowly without them, and waits for the device",
        stacklevel=2,
    )
