"""Peak memory: of one call, and of this process so far."""

import contextlib
import ctypes
import gc
import resource
import sys
from collections.abc import Callable
from pathlib import Path

import torch

_RESET_OF_PEAK = "5"
"""Written to a process's `clear_refs`, this makes Linux start its peak of resident memory again."""
_STATUS = Path("/proc/self/status")


def peak_memory(run: Callable[[], object], device: torch.device) -> int:
    """Call `run` and return how many bytes it needed beyond those in use before; 0 if the system does not tell."""
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
    except OSError:
        run()
        return 0
    run()
    return max(_resident("VmHWM") - before, 0)


def peak_of_process() -> int:
    """Return the highest resident memory of this process so far, in bytes.

    Linux passes the peak of `getrusage` on from the parent process, so `/proc` is read there.
    """
    if _STATUS.exists():
        return _resident("VmHWM")
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def _resident(entry: str) -> int:
    lines = _STATUS.read_text().splitlines()
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith(f"{entry}:"))


def _return_free_memory() -> None:
    """Make the allocator give back what an earlier run left, which would hide what the next one needs."""
    with contextlib.suppress(OSError, AttributeError):  # not glibc
        ctypes.CDLL(None).malloc_trim(0)
