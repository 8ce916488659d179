"""Compiles kernels with NVRTC, which torch's CUDA wheels bring along, and keeps the results on disk."""

import hashlib
import os
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

import torch

ELEMENTS = {torch.float32: "FLOAT32", torch.float16: "FLOAT16", torch.bfloat16: "BFLOAT16"}


class Program(NamedTuple):
    """What is compiled together.

    Attributes:
        source: a file of kernels.
        definitions: the compiler options that select a variant of it.
    """

    source: Path
    definitions: tuple[str, ...] = ()


ROI_KERNELS = Path(__file__).with_name("roi_kernels.cu")


def roi_kernels(dtype: torch.dtype, vector: int) -> Program:
    """The RoI kernels for one type.

    Args:
        dtype: of features and gradients, a key of `ELEMENTS`.
        vector: channels a thread handles together: 1, 2, 4 or 8, at most 16 bytes.
    """
    return Program(ROI_KERNELS, (f"-DELEMENT_{ELEMENTS[dtype]}", f"-DVECTOR={vector}"))


class CompilationError(RuntimeError):
    """NVRTC is missing, refuses the GPU's architecture, or refuses the source."""


def compiled(program: Program, capability: tuple[int, int]) -> bytes:
    """The kernels as machine code for a GPU, from the cache or freshly compiled.

    Args:
        program: what to compile.
        capability: of the GPU, such as (9, 0).

    Returns:
        A cubin; PTX for a GPU newer than the compiler.

    Raises:
        CompilationError: it cannot be had.
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
    """Machine code and the compiler's log, without the cache; complaints call the source by its `name`.

    Raises:
        CompilationError: with the log, if the source is refused.
    """
    nvrtc = _nvrtc()
    program = _checked(nvrtc, nvrtc.nvrtcCreateProgram(source, name.encode(), 0, None, None))
    try:
        encoded = [option.encode() for option in options]
        (result,) = nvrtc.nvrtcCompileProgram(program, len(encoded), encoded)
        log = _read(nvrtc, program, "ProgramLog").rstrip(b"\0").decode()
        if result != nvrtc.nvrtcResult.NVRTC_SUCCESS:
            raise CompilationError(f"NVRTC refuses {name} with {' '.join(options)}: {log}")
        kind = "PTX" if any("=compute_" in option for option in options) else "CUBIN"
        return _read(nvrtc, program, kind), log
    finally:
        nvrtc.nvrtcDestroyProgram(program)


def cache_folder() -> Path:
    """Where compiled kernels are kept: $LIGHTNING_RCNN_CACHE, or a folder of its own in the user's cache."""
    own = os.environ.get("LIGHTNING_RCNN_CACHE")
    if own:
        return Path(own)
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "lightning-rcnn" / "kernels"


def _target(nvrtc: Any, capability: tuple[int, int]) -> str:
    architecture = 10 * capability[0] + capability[1]
    supported = _checked(nvrtc, nvrtc.nvrtcGetSupportedArchs())
    if architecture in supported:
        return f"--gpu-architecture=sm_{architecture}"
    if architecture > max(supported):  # the driver translates PTX for a GPU the compiler does not know yet
        return f"--gpu-architecture=compute_{max(supported)}"
    raise CompilationError(
        f"this NVRTC compiles for compute capability {min(supported) / 10} on, not {architecture / 10}"
    )


def _store(path: Path, code: bytes) -> None:
    """Writes whole or not at all, whichever other processes do the same; a cache that cannot be written is no error."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=path.name)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(code)
            os.replace(temporary, path)
        except OSError:
            os.unlink(temporary)
            raise
    except OSError:
        pass


def _nvrtc() -> Any:
    try:
        from cuda.bindings import nvrtc
    except ImportError as error:
        raise CompilationError(f"cuda-bindings cannot be imported ({error})") from error
    try:
        nvrtc.nvrtcVersion()
    except RuntimeError as error:  # the shared library is not there
        raise CompilationError(f"NVRTC cannot be loaded ({error})") from error
    return nvrtc


def _checked(nvrtc: Any, answer: tuple[Any, ...]) -> Any:
    result, *values = answer
    if result != nvrtc.nvrtcResult.NVRTC_SUCCESS:
        raise CompilationError(f"NVRTC fails with {result.name}")
    return values[0] if len(values) == 1 else tuple(values)


def _read(nvrtc: Any, program: Any, what: str) -> bytes:
    size = _checked(nvrtc, getattr(nvrtc, f"nvrtcGet{what}Size")(program))
    buffer = bytes(size)
    getattr(nvrtc, f"nvrtcGet{what}")(program, buffer)
    return buffer
