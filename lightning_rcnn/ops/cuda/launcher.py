"""Loads compiled kernels and launches them on torch's current stream, through the driver's own interface."""

import ctypes
import functools
from typing import Any

import torch

from lightning_rcnn.ops.cuda.compiler import Program, compiled

THREADS = 256
"""Of every block; BLOCK in the sources."""


def launch(
    kernel: str, program: Program, grid: tuple[int, int], parameters: ctypes.Structure, device: torch.device
) -> None:
    """Starts a kernel on the current stream of a device.

    Args:
        kernel: its name in the source.
        program: that holds it.
        grid: blocks along x and y.
        parameters: the kernel's one argument, copied before this returns.
        device: with an index.

    Raises:
        CompilationError: the kernel cannot be had for this GPU.
        RuntimeError: the driver refuses the launch.
    """
    from cuda.bindings import driver

    function = _function(kernel, program, torch.cuda.get_device_capability(device))
    pointers = (ctypes.c_void_p * 1)(ctypes.addressof(parameters))
    with torch.cuda.device(device):
        _bind_context(driver, device)
        stream = torch.cuda.current_stream(device).cuda_stream
        _checked(
            driver.cuLaunchKernel(function, *grid, 1, THREADS, 1, 1, 0, stream, ctypes.addressof(pointers), 0),
            f"launch of {kernel} on {grid} blocks",
        )


@functools.cache
def _function(kernel: str, program: Program, capability: tuple[int, int]) -> Any:
    from cuda.bindings import driver

    found = _checked(driver.cuLibraryGetKernel(_library(program, capability), kernel.encode()), f"look-up of {kernel}")
    # A library belongs to no context: the same kernel serves every GPU of this capability. Where a function is asked
    # for, the driver takes a kernel too.
    return driver.CUfunction(int(found))


@functools.cache
def _library(program: Program, capability: tuple[int, int]) -> Any:
    from cuda.bindings import driver

    code = compiled(program, capability)
    return _checked(driver.cuLibraryLoadData(code, [], [], 0, [], [], 0), "loading of the kernels")


def _bind_context(driver: Any, device: torch.device) -> None:
    """Makes the device's context current where torch has not yet: it waits for the first call that needs one."""
    if int(_checked(driver.cuCtxGetCurrent(), "look-up of the context")) == 0:
        context = _checked(driver.cuDevicePrimaryCtxRetain(device.index), "retaining of the context")
        _checked(driver.cuCtxSetCurrent(context), "setting of the context")


def _checked(answer: tuple[Any, ...], what: str) -> Any:
    result, *values = answer
    if int(result) != 0:
        raise RuntimeError(f"the CUDA driver answers {what} with {result.name}")
    return values[0] if values else None
