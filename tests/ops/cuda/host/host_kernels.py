"""Compiles the kernels' source as host C++ and stands in for the launcher."""

import ctypes
import functools
import os
import shutil
import subprocess
from pathlib import Path

from lightning_rcnn.ops.cuda import launcher
from lightning_rcnn.ops.cuda.compiler import ROI_KERNELS
from lightning_rcnn.ops.cuda.suppression import NMS

HERE = Path(__file__).parent
RUNNERS = {ROI_KERNELS: "roi_runner.cpp", NMS.source: "nms_runner.cpp"}
"""The program that runs the kernels of a source."""
SANITIZERS = ("-fsanitize=address,undefined", "-fno-sanitize-recover=undefined")


def compiler():
    """The host's C++ compiler, or None."""
    return shutil.which("c++") or shutil.which("g++") or shutil.which("clang++")


class HostKernels:
    """`launch` with the signature of the launcher's, on tensors in the host's memory.

    Args:
        folder: for the libraries, one for each program, built when it is first asked for.
        flags: further compiler options.
        sources: other texts to take for a source, to see a check fail.
    """

    def __init__(self, folder, flags=(), sources=None):
        self.folder, self.flags, self.sources = Path(folder), flags, sources or {}
        self.reversed = False
        self.library = functools.cache(self._library)

    def launch(self, kernel, program, grid, parameters, device):
        assert device.type == "cpu"
        library = self.library(program)
        answer = library.run_kernel(
            kernel.encode(), *grid, launcher.THREADS, ctypes.byref(parameters), int(self.reversed)
        )
        assert answer == 0, f"{kernel}: " + ("no such kernel", "threads of a block part at a barrier")[answer - 1]

    def _library(self, program):
        library = self.folder / f"{program.source.stem}{''.join(program.definitions).replace('=', '_')}.so"
        if not library.exists():
            source = self.sources.get(program.source, program.source)
            build(RUNNERS[program.source], library, program, self.flags, source)
        return ctypes.CDLL(library)


def build(runner, library, program, flags=(), source=None):
    """Compiles a C++ file of this folder, which includes the program's kernels, to a shared library."""
    command = [compiler(), "-std=c++17", "-O1", "-shared", "-fPIC", "-Wno-unknown-pragmas", f"-I{HERE}", *flags]
    command += [*program.definitions, f'-DKERNELS="{source or program.source}"']
    command += ["-x", "c++", HERE / runner, "-o", library, "-ldl"]
    environment = {name: value for name, value in os.environ.items() if name != "LD_PRELOAD"}  # of a sanitizer
    subprocess.run(command, env=environment, check=True)
