"""Loading of compiled kernels, and launches on torch's current stream, through the CUDA driver API."""

import ctypes
import functools
from typing import Any

import torch

from lightning_rcnn.ops.cuda.compiler import Program, compiled

THREADS = 256
"""Threads of every block; BLOCK in the sources."""


def launch(
    kernel: str, program: Program, grid: tuple[int, int], parameters: ctypes.Structure, device: torch.device
) -> None:
    """Launch a kernel on the current stream of a device.

    Args:
        kernel: name of the kernel in the source.
        program: program that holds the kernel.
        grid: number of blocks along x and y.
        parameters: the kernel's only argument; copied before this function returns.
        device: CUDA device with an index.

    Raises:
        CompilationError: the kernel cannot be compiled for this GPU.
        RuntimeError: the driver rejects the launch.
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

    handle = _checked(driver.cuLibraryGetKernel(_library(program, capability), kernel.encode()), f"look-up of {kernel}")
    # A library belongs to no context: the same kernel serves every GPU of this capability. The driver accepts a kernel
    # in place of a function.
    return driver.CUfunction(int(handle))


@functools.cache
def _library(program: Program, capability: tuple[int, int]) -> Any:
    from cuda.bindings import driver

    code = compiled(program, capability)
    return _checked(driver.cuLibraryLoadData(code, [], [], 0, [], [], 0), "loading of the kernels")


def _bind_context(driver: Any, device: torch.device) -> None:
    """Make the device's context current if torch has not yet; torch does so at its first call that needs one."""
    if int(_checked(driver.cuCtxGetCurrent(), "look-up of the context")) == 0:
        context = _checked(driver.cuDevicePrimaryCtxRetain(device.index), "retaining of the context")
        _checked(driver.cuCtxSetCurrent(context), "setting of the context")


def _checked(answer: tuple[Any, ...], what: str) -> Any:
    result, *values = answer
    if int(result) != 0:
        raise RuntimeError(f"CUDA driver: {what} failed with {result.name}")
    return values[0] if values else None
