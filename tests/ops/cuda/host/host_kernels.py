"""The kernels' sources compiled as host C++, with the launcher's interface."""

import ctypes
import functools
import os
import shutil
import subprocess
from pathlib import Path

from lightning_rcnn.ops.cuda import launcher
from lightning_rcnn.ops.cuda.compiler import ROI_KERNELS
from lightning_rcnn.ops.cuda.rendering import RENDER
from lightning_rcnn.ops.cuda.suppression import NMS

HERE = Path(__file__).parent
RUNNERS = {ROI_KERNELS: "roi_runner.cpp", NMS.source: "nms_runner.cpp", RENDER.source: "render_runner.cpp"}
"""C++ file that runs the kernels of each source."""
SANITIZERS = ("-fsanitize=address,undefined", "-fno-sanitize-recover=undefined")


def compiler():
    """Find the host's C++ compiler; None if there is none."""
    return shutil.which("c++") or shutil.which("g++") or shutil.which("clang++")


class HostKernels:
    """A replacement of the launcher for tensors in host memory.

    Args:
        folder: folder for the libraries; each program is built at first use.
        flags: additional compiler options.
        sources: files to use instead of given sources, to see a check fail.
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
        assert answer == 0, f"{kernel}: " + ("no such kernel", "threads of a block diverge at a barrier")[answer - 1]

    def _library(self, program):
        library = self.folder / f"{program.source.stem}{''.join(program.definitions).replace('=', '_')}.so"
        if not library.exists():
            source = self.sources.get(program.source, program.source)
            build(RUNNERS[program.source], library, program, self.flags, source)
        return ctypes.CDLL(library)


def build(runner, library, program, flags=(), source=None):
    """Compile a C++ file of this folder, which includes the program's kernels, to a shared library."""
    command = [compiler(), "-std=c++17", "-O1", "-shared", "-fPIC", "-Wno-unknown-pragmas", f"-I{HERE}", *flags]
    command += [*program.definitions, f'-DKERNELS="{source or program.source}"']
    command += ["-x", "c++", HERE / runner, "-o", library, "-ldl"]
    # LD_PRELOAD may hold a sanitizer, which the compiler must not run under.
    environment = {name: value for name, value in os.environ.items() if name != "LD_PRELOAD"}
    subprocess.run(command, env=environment, check=True)
