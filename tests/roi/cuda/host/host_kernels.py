"""Compiles the kernels' source as host C++ and stands in for the launcher."""

import ctypes
import functools
import os
import shutil
import subprocess
from pathlib import Path

from lightning_rcnn.roi.cuda import launcher
from lightning_rcnn.roi.cuda.compiler import SOURCE

HERE = Path(__file__).parent
SANITIZERS = ("-fsanitize=address,undefined", "-fno-sanitize-recover=undefined")


def compiler():
    """The host's C++ compiler, or None."""
    return shutil.which("c++") or shutil.which("g++") or shutil.which("clang++")


class HostKernels:
    """`launch` with the signature of the launcher's, on tensors in the host's memory.

    Args:
        folder: for the libraries, one for each variant, built when it is first asked for.
        flags: further compiler options.
        source: the kernels; another text to see a check fail.
    """

    def __init__(self, folder, flags=(), source=SOURCE):
        self.folder, self.flags, self.source = Path(folder), flags, Path(source)
        self.reversed = False
        self.library = functools.cache(self._library)

    def launch(self, kernel, variant, grid, parameters, device):
        assert device.type == "cpu"
        library = self.library(variant)
        answer = library.run_kernel(
            kernel.encode(), *grid, launcher.THREADS, ctypes.byref(parameters), int(self.reversed)
        )
        assert answer == 0, f"{kernel}: " + ("no such kernel", "threads of a block part at a barrier")[answer - 1]

    def _library(self, variant):
        library = self.folder / f"kernels_{str(variant.dtype).removeprefix('torch.')}_{variant.vector}.so"
        if not library.exists():
            build("runner.cpp", library, variant, self.flags, self.source)
        return ctypes.CDLL(library)


def build(program, library, variant, flags=(), source=SOURCE):
    """Compiles a program of this folder, which includes the kernels, to a shared library."""
    command = [compiler(), "-std=c++17", "-O1", "-shared", "-fPIC", "-Wno-unknown-pragmas", f"-I{HERE}", *flags]
    command += [*variant.definitions(), f'-DROI_KERNELS="{source}"', "-x", "c++", HERE / program, "-o", library, "-ldl"]
    environment = {name: value for name, value in os.environ.items() if name != "LD_PRELOAD"}  # of a sanitizer
    subprocess.run(command, env=environment, check=True)
