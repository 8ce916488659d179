"""Compilation of kernels with NVRTC, which torch's CUDA wheels include, and their cache on disk."""

import contextlib
import hashlib
import os
from pathlib import Path
from typing import Any, NamedTuple

import torch
from filelock import FileLock

from lightning_rcnn.files import atomic_write

ELEMENTS = {torch.float32: "FLOAT32", torch.float16: "FLOAT16", torch.bfloat16: "BFLOAT16"}
"""Supported types of features and gradients, and their names in `roi_kernels.cu`."""
_LOCK_SECONDS = 10
"""Wait for other writers of the cache; writing one kernel takes milliseconds."""


class Program(NamedTuple):
    """Kernels that are compiled together.

    Attributes:
        source: path of the source file.
        definitions: compiler options that select a variant of it.
    """

    source: Path
    definitions: tuple[str, ...] = ()


ROI_KERNELS = Path(__file__).with_name("roi_kernels.cu")


def roi_kernels(dtype: torch.dtype, vector: int) -> Program:
    """Return the RoI kernels for one type.

    Args:
        dtype: type of features and gradients, a key of `ELEMENTS`.
        vector: number of channels that a thread handles together: 1, 2, 4 or 8, at most 16 bytes.
    """
    return Program(ROI_KERNELS, (f"-DELEMENT_{ELEMENTS[dtype]}", f"-DVECTOR={vector}"))


class CompilationError(RuntimeError):
    """NVRTC is missing, does not support the GPU's architecture, or rejects the source."""


def compiled(program: Program, capability: tuple[int, int]) -> bytes:
    """Return kernels as machine code for a GPU, from the cache or newly compiled.

    Args:
        program: kernels to compile.
        capability: compute capability of the GPU, such as (9, 0).

    Returns:
        A cubin; PTX for a GPU newer than the compiler.

    Raises:
        CompilationError: see there.
    """
    nvrtc = _nvrtc()
    options = ["--std=c++17", _target(nvrtc, capability), *program.definitions]
    source = program.source.read_bytes()
    version = _checked(nvrtc, nvrtc.nvrtcVersion())
    key = hashlib.sha256(repr((source, options, version)).encode()).hexdigest()
    cached = cache_folder() / f"{key}.bin"
    try:
        return cached.read_bytes()
    except OSError:
        pass
    code, _ = compile_source(source, options, program.source.name)
    _store(cached, code)
    return code


def compile_source(source: bytes, options: list[str], name: str) -> tuple[bytes, str]:
    """Compile a source without the cache.

    Args:
        source: text of the source file.
        options: compiler options.
        name: file name of the source in error messages.

    Returns:
        Machine code, and the compiler's log.

    Raises:
        CompilationError: NVRTC rejects the source; the message holds the log.
    """
    nvrtc = _nvrtc()
    program = _checked(nvrtc, nvrtc.nvrtcCreateProgram(source, name.encode(), 0, None, None))
    try:
        encoded = [option.encode() for option in options]
        (result,) = nvrtc.nvrtcCompileProgram(program, len(encoded), encoded)
        log = _read(nvrtc, program, "ProgramLog").rstrip(b"\0").decode()
        if result != nvrtc.nvrtcResult.NVRTC_SUCCESS:
            raise CompilationError(f"{name}: NVRTC rejects it with {' '.join(options)}: {log}")
        kind = "PTX" if any("=compute_" in option for option in options) else "CUBIN"
        return _read(nvrtc, program, kind), log
    finally:
        nvrtc.nvrtcDestroyProgram(program)


def cache_folder() -> Path:
    """Return the folder of compiled kernels: $LIGHTNING_RCNN_CACHE, or a folder in the user's cache."""
    configured = os.environ.get("LIGHTNING_RCNN_CACHE")
    if configured:
        return Path(configured)
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "lightning-rcnn" / "kernels"


def _target(nvrtc: Any, capability: tuple[int, int]) -> str:
    architecture = 10 * capability[0] + capability[1]
    supported = _checked(nvrtc, nvrtc.nvrtcGetSupportedArchs())
    if architecture in supported:
        return f"--gpu-architecture=sm_{architecture}"
    if architecture > max(supported):  # the driver translates PTX for a GPU newer than the compiler
        return f"--gpu-architecture=compute_{max(supported)}"
    raise CompilationError(
        f"this NVRTC supports compute capability {min(supported) / 10} and newer; this GPU has {architecture / 10}"
    )


def _store(path: Path, code: bytes) -> None:
    """Write a kernel to the cache; a cache that cannot be written is no error.

    All ranks of a node write the same kernels at the same time, so a lock lets one in at a time.
    """
    # NotImplementedError: the file system has no locks.
    with contextlib.suppress(OSError, NotImplementedError):
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(path.parent / ".lock", timeout=_LOCK_SECONDS), atomic_write(path) as file:
            file.write(code)


def _nvrtc() -> Any:
    try:
        from cuda.bindings import nvrtc
    except ImportError as error:
        raise CompilationError(f"cuda-bindings cannot be imported ({error})") from error
    try:
        nvrtc.nvrtcVersion()
    except RuntimeError as error:  # the shared library is missing
        raise CompilationError(f"NVRTC cannot be loaded ({error})") from error
    return nvrtc


def _checked(nvrtc: Any, answer: tuple[Any, ...]) -> Any:
    result, *values = answer
    if result != nvrtc.nvrtcResult.NVRTC_SUCCESS:
        raise CompilationError(f"NVRTC failed with {result.name}")
    return values[0] if len(values) == 1 else tuple(values)


def _read(nvrtc: Any, program: Any, what: str) -> bytes:
    size = _checked(nvrtc, getattr(nvrtc, f"nvrtcGet{what}Size")(program))
    buffer = bytes(size)
    getattr(nvrtc, f"nvrtcGet{what}")(program, buffer)
    return buffer
